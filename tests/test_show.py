"""`kfsl.show`, and the figures of an episode and of confusions."""

import dataclasses
import os

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from data_pipelines import pipeline
from data_pipelines.samplers import epoch_episode
from kfsl import configurables
from kfsl.analysis.evaluations.confusion import (
    confusion_figure,
    confusion_text,
    hardest_classes,
    most_confused,
)
from kfsl.analysis.numbered_episode import numbered_episode
from kfsl.episodes import EpisodeSpec
from kfsl.evaluate import evaluate_run
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.experiment import Experiment
from kfsl.figures.episode import episode_figure
from kfsl.figures.images import OTHER, RIGHT, WRONG
from kfsl.figures.text import printable
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from kfsl.show import hardest, show_episode
from tests.support import letters
from tests.support.refusals import refusal


@pytest.fixture
def drawn(store):
    experiment = letters.experiment(store)
    return experiment.learner, *numbered_episode(experiment, "test", 3)


def frames(figure):
    """Colour of each frame, by the position of its row and column."""
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return [patch.get_edgecolor() for patch in patches]


def rgba(color):
    return (*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)


def test_frames_say_what_was_right(drawn):
    learner, episode, query_labels, names = drawn
    figure = episode_figure(learner, episode, query_labels, names)
    logits = learner(episode, training=False)["logits"].numpy()[0]
    hits = np.argmax(logits, axis=-1) == query_labels.numpy()[0]
    assert 0 < hits.sum() < len(hits), "the episode must have both, or the test says little"
    colors = frames(figure)
    assert colors.count(rgba(RIGHT)) == hits.sum()
    assert colors.count(rgba(WRONG)) == (~hits).sum()
    assert colors.count(rgba(OTHER)) == 3  # The support images.
    assert figure.axes[0].get_title() == f"3-way episode: {hits.sum()} of 12 queries right"
    texts = [text.get_text() for text in figure.axes[0].texts]
    for label, i in enumerate(episode["support_classes"].numpy()[0]):
        assert f"{label + 1}  {names[i]}" in texts
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for row in probabilities:
        assert f"{row.argmax() + 1}: {100 * row.max():.0f} %" in texts


def test_without_a_learner_there_is_no_verdict(drawn):
    figure = episode_figure(None, *drawn[1:])
    assert frames(figure) == [rgba(OTHER)] * 15
    assert len(figure.axes[0].images) == 15


def test_padding_is_not_drawn():
    spec = EpisodeSpec(ways=2, shots=2, queries=1, image_shape=(8, 8, 3))
    episode, query_labels = spec.random_episode(meta_batch=2)
    episode["support_mask"] = np.array([[True, True, True, False]] * 2)
    figure = episode_figure(None, episode, query_labels, "abcd")
    assert len(figure.axes[0].images) == 5


def test_names_of_any_script_can_be_drawn():
    spec = EpisodeSpec(ways=2, shots=1, queries=1, image_shape=(8, 8, 1))
    episode, query_labels = spec.random_episode(classes=2)
    names = ["$\\frac{", "\U00013000" * 3]  # No formula; a hieroglyph no usual font has.
    figure = episode_figure(None, episode, query_labels, names)
    figure.canvas.draw()  # A missing glyph is a warning, and a warning an error.
    assert printable("\U00013000") == "U+13000"
    assert printable("Alphabet_of_the_Magi/character01", 20) == "Alphab…i/character01"
    assert len(printable("x" * 100, 20)) == 20


def test_an_episode_of_training_is_the_one_that_training_drew(store):
    def sampler(split, seed, index):
        return epoch_episode(split, seed, index, ways=3, queries=2)

    experiment = letters.experiment(store)
    experiment = dataclasses.replace(experiment, sampler=sampler)
    stream = pipeline.episodes(experiment.dataset, "train", sampler, seed=9, start=4, count=1)
    (expected, _), *_ = stream
    shown, _, _ = numbered_episode(experiment, "train", 4, training_seed=9)
    np.testing.assert_array_equal(shown["query_images"], expected["query_images"])
    # Other splits have the episodes of evaluation, whatever the training seed.
    expected, _ = pipeline.episode_at(
        experiment.dataset, "val", experiment.evaluation_sampler, EVALUATION_SEED, 4
    )
    shown, _, _ = numbered_episode(experiment, "val", 4, training_seed=9)
    np.testing.assert_array_equal(shown["query_images"], expected["query_images"])


def test_shows_an_episode_of_a_run(run):
    path = show_episode(run, [], [], "val", 2)
    assert path == os.path.join(run.path, "analysis", "episode_val_2.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        colors = {pixel[:3] for _, pixel in picture.convert("RGB").getcolors(10**7)}
    assert tuple(round(255 * part) for part in rgba(RIGHT)[:3]) in colors


def test_shows_an_episode_of_a_configuration(store, tmp_path):
    gin_file = tmp_path / "letters.gin"
    gin_file.write_text(letters.CONFIG.format(store=store))
    output = str(tmp_path / "new" / "episode.svg")
    assert show_episode(None, [str(gin_file)], ["WAYS = 4"], "test", 0, output) == output
    with open(output, encoding="utf-8") as file:
        assert "<svg" in file.read()
    assert configurables.bound(Experiment)().dataset.name == "letters"


def test_a_binding_without_effect_on_the_episode(run, store, tmp_path):
    gin_file = tmp_path / "letters.gin"
    gin_file.write_text(letters.CONFIG.format(store=store))
    output = str(tmp_path / "episode.png")
    for binding in ("STANet.num_layers = 7", "train.epochs = 3"):
        for source in ((None, [str(gin_file)]), (run, [])):
            with pytest.raises(ValueError, match=f"{binding} has no effect on this episode"):
                show_episode(*source, [binding], "test", 0, output)
    assert not os.path.exists(output)


EVALUATION = Evaluation(
    split="test", values=[0.5, 1.0], ways=2, shots=1, queries=3, seed=0, dataset="letters",
    dataset_fingerprint="", episodes_fingerprint="", learner="PrototypicalNetwork",
    bn_policy="running", transductive=False,
    classes={"a": [6, 6], "b": [1, 6], "c": [2, 12], "d": [4, 6]},
    confusions=[["c", "b", 7, 12], ["b", "a", 5, 6], ["c", "a", 3, 6], ["d", "a", 2, 3]],
)  # fmt: skip


def test_hardest_and_most_confused():
    # b and c are equally hard; c was asked more often.
    assert hardest_classes(EVALUATION, 3) == [("c", 1 / 6, 12), ("b", 1 / 6, 6), ("d", 2 / 3, 6)]
    assert most_confused(EVALUATION, 2) == [("c", "b", 7, 12), ("b", "a", 5, 6)]
    text = confusion_text(EVALUATION, 2)
    assert text.splitlines()[0] == EVALUATION.summary()
    assert "16.7 %       12  c" in text
    assert "7          12  c -> b" in text
    assert [line.split()[-1] for line in text.splitlines()[4:6]] == ["c", "b"]
    perfect = dataclasses.replace(EVALUATION, confusions=[])
    assert "every query was right" in confusion_text(perfect)


def test_confusion_figure():
    left, right = confusion_figure(EVALUATION, 3).axes
    assert [round(bar.get_width(), 1) for bar in left.patches] == [16.7, 16.7, 66.7]
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["c → b", "b → a", "c → a"]
    assert [text.get_text() for text in right.texts] == ["7 of 12", "5 of 6", "3 of 6"]


def test_lists_the_hardest_classes_of_a_run(run):
    with pytest.raises(FileNotFoundError, match=r"not evaluated on the split 'test'; first run"):
        hardest(run, "test", 3)
    evaluate_run(run, "test", episodes=6)
    stored = Evaluation.load(run.evaluation_path("test"))
    assert hardest(run, "test", 3) == confusion_text(stored, 3)
    assert hardest_classes(stored, 1)[0][0] in hardest(run, "test", 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name either a run with --run_dir or a configuration with --gin_file"),
        (["--run_dir=nowhere"], "'nowhere' is not a run directory"),
        (["--run_dir={run}"], "no trained learner yet"),
        (["--run_dir={run}", "--gin_file=x.gin"], "Name either a run"),
        (["--gin_file=x.gin"], "No gin file 'x.gin'"),
        (["--gin_file={gin}", "--index=-1"], "--index must not be negative; received -1"),
        (["--gin_file={gin}", "--gin_param=include 'x.gin'"], "--gin_param takes a binding"),
        (["--gin_file={gin}", "--output=a.xyz"], "--output must end in .png"),
        (["--hardest=3"], "name it with --run_dir"),
        (["--run_dir={run}", "--hardest=-3"], "--hardest must be at least 1"),
        (["--run_dir={run}", "--hardest=0"], "--hardest must be at least 1; received 0"),
        (["--run_dir={run}", "--hardest=2", "--index=0"], "--index has no place here: --hardest"),
        (["--run_dir={run}", "--hardest=2", "--output=x.png"], "--output has no place here"),
        (["--run_dir={run}", "--hardest=2", "--gin_param=A=2"], "--gin_param has no place here"),
        (["--hardest=2", "--gin_file=x.gin"], "--gin_file has no place here"),
        (["--run_dir={run}", "--hardest=3"], "was not evaluated on the split 'test'"),
    ],
)
def test_bad_input_is_told_before_anything_slow(tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    filled = [argument.format(run=run.path, gin=run.config_path) for argument in arguments]
    assert message in refusal(tmp_path, "kfsl.show", *filled)
