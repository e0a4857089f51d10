"""The experiment of a run with other data: held-out classes stay unseen."""

import json

import numpy as np
import pytest

import gin
from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from kfsl import configurables
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.learnt_classes import check_unseen
from tests.support import letters, mixed_runs


@configurables.register
def divided_letters(path: str, test: tuple = (2, 5, 8, 11, 14)) -> FewShotDataset:
    return FewShotDataset("divided", ClassStore.open(path), {"test": test})


def divided(path, test):
    return [
        "Experiment.dataset = @divided_letters()",
        f"divided_letters.path = {path!r}",
        f"divided_letters.test = {test}",
    ]


def test_words_do_not_open_the_guard(run):
    values = run.metadata | {"dataset_fingerprint": "another"}
    with open(run.metadata_path, "w", encoding="utf-8") as file:
        json.dump(values, file)
    for bindings in ([], ["load_dataset.held_out_seed = 1"], ["load_dataset.name = 'letters'"]):
        with pytest.raises(ValueError, match="may be among those it learnt from"):
            configurables.trained_experiment(run, bindings)


def test_the_same_data_by_another_path_are_the_same(run, tmp_path):
    copy = str(tmp_path / "copy")
    letters.write_letters(copy)
    found = configurables.trained_experiment(run, [f"letters_dataset.path = {copy!r}"])
    assert str(found.dataset.store.path) == copy


def test_other_data_that_hold_out_other_classes(run, store, tmp_path):
    other = str(tmp_path / "other")
    letters.write_letters(other, noise=10.0, name_prefix="d")
    bindings = divided(other, (0, 3, 6, 9))
    found = configurables.trained_experiment(run, bindings)
    assert found.dataset.name == "divided"
    configurables.parse_text(run.config, divided(store, (1, 2, 4)))
    assert configurables.trained_experiment(run, divided(store, (1, 2, 4))).dataset.splits


def test_other_data_that_hold_out_classes_it_learnt_from(run, store, tmp_path):
    with pytest.raises(ValueError, match=r"1 of the 3 test classes .*'c06', are among those"):
        configurables.trained_experiment(run, divided(store, (1, 2, 6)))
    # Other pixels under the same names.
    other = str(tmp_path / "other")
    letters.write_letters(other, noise=10.0)
    with pytest.raises(ValueError, match=r"2 of the 4 test classes"):
        configurables.trained_experiment(run, divided(other, (0, 3, 4, 5)))


def test_other_data_when_the_runs_own_are_gone(run, store, tmp_path):
    config = run.config.replace(repr(store), repr(str(tmp_path / "gone")))
    with open(run.config_path, "w", encoding="utf-8") as file:
        file.write(config)
    with pytest.raises(ValueError, match="whether it learnt from their test classes cannot be"):
        configurables.trained_experiment(run, divided(store, (1, 2, 4)))


def test_classes_are_the_same_within_a_mixture(run, store, tmp_path):
    mixed_store = mixed_runs.write_mixed(str(tmp_path / "mixed"))
    mixture = ["Experiment.dataset = @mixed_letters()", f"mixed_letters.path = {mixed_store!r}"]
    turned = letters.trained_run(str(tmp_path / "turned"), store, turned=2)
    with pytest.raises(ValueError, match=r"5 of the 5 test classes .*'c02', .*turned learnt from"):
        configurables.trained_experiment(turned, mixture)
    assert configurables.trained_experiment(run, mixture).dataset.name == "mixed"
    mixed = mixed_runs.mixed_run(str(tmp_path / "of_modes"), mixed_store, generator=None)
    with pytest.raises(ValueError, match=r"1 of the 3 test classes .*'c06', are among those"):
        configurables.trained_experiment(mixed, divided(store, (1, 2, 6)))
    assert configurables.trained_experiment(mixed, divided(store, (1, 2, 4))).dataset.splits
    with pytest.raises(ValueError, match="5 of the 5 test classes"):
        start(turned, mixture)


def mixture(path, parts, train, test):
    """Two datasets whose classes are called alike, in some division and style."""
    classes = [StoredClass(f"{part}/{name}", "all", 1) for part in parts for name in "ab"]
    images = [(i, np.full(letters.SHAPE, i, "uint8")) for i in range(4)]
    metadata = {"modes": parts, "mode_rotations": [1, 1], "class_modes": [0, 0, 1, 1]}
    write_class_store(path, classes, images, letters.SHAPE, metadata)
    return FewShotDataset("mixture", ClassStore.open(path), {"train": train, "test": test})


def test_of_two_mixtures_the_dataset_counts_and_not_its_style(run, tmp_path):
    photos, others = "photos@halves", "drawings:inverted"
    learnt = mixture(str(tmp_path / "a"), [photos, others], [0], [1, 2, 3])
    # Class a of the drawings is not that of the photographs.
    fair = mixture(str(tmp_path / "b"), ["photos", "drawings"], [0, 1], [2, 3])
    check_unseen(run, learnt, fair, ["test"])
    unfair = mixture(str(tmp_path / "c"), ["photos", "drawings"], [1], [0, 2])
    with pytest.raises(ValueError, match=r"1 of the 2 test classes .*'photos/a'"):
        check_unseen(run, learnt, unfair, ["test"])
    check_unseen(run, learnt, unfair, ["train"])


def test_base_classes_are_those_of_the_training(run, store):
    def data(train, test, held_out=2):
        splits = {"train": train, "test": test}
        return FewShotDataset("letters", ClassStore.open(store), splits, held_out)

    first = data([0, 3, 6], [2, 5])
    check_unseen(run, data([0, 3, 6], [1, 4]), first, ["base_test"])
    for other in (data([0, 3], [1, 4]), data([0, 3, 6], [2, 5], held_out=1)):
        with pytest.raises(ValueError, match="has other base classes than 'letters'"):
            check_unseen(run, other, first, ["test", "base_test"])


def test_overrides_are_known_to_be_used_after_the_data_were_compared(run, store):
    bindings = divided(store, (1, 2, 4))
    configurables.trained_experiment(run, bindings)
    configurables.check_overrides(bindings, run.config, "evaluation")


def start(run, own):
    """What a training that begins with a run's weights is told of its own data."""
    place = f"START = {run.path!r}\ntrain.start_from = %START"
    config = "\n".join([letters.CONFIG.format(store=""), *own, place])
    configurables.parse_text(config)
    configurables.check_start(config, RunDirectory(f"{run.path}_new"))
    # What is bound is as it was.
    assert gin.query_parameter("Experiment.dataset").selector.endswith(own[0].split("@")[1][:-2])
    assert not configurables.operative().strip()


@configurables.register
def letters_without_last_images(path: str, images: int = 1) -> FewShotDataset:
    return FewShotDataset("letters", ClassStore.open(path), letters.SPLITS, images)


def test_weights_of_a_run_that_learnt_from_classes_held_out_here(run, store, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"1 of the 3 test classes .*'c06', are among those"):
        start(run, divided(store, (1, 2, 6)))
    start(run, divided(store, (1, 2, 4)))
    other = str(tmp_path / "other")
    letters.write_letters(other, noise=10.0, name_prefix="d")
    start(run, divided(other, (0, 3, 6)))
    # It may have begun with another run itself.
    second = letters.trained_run(str(tmp_path / "second"), other, start_from=run.path)
    with pytest.raises(ValueError, match=rf"'c06', .* {run.path} learnt from"):
        start(second, divided(store, (1, 2, 6)))
    start(run, ["Experiment.dataset = @letters_dataset()", f"letters_dataset.path = {store!r}"])
    held_out = [
        "Experiment.dataset = @letters_without_last_images()",
        f"letters_without_last_images.path = {store!r}",
    ]
    with pytest.raises(ValueError, match="images of base_test may be among those"):
        start(run, held_out)
    assert capsys.readouterr().out == ""


def test_weights_of_a_run_whose_data_are_gone(run, store, tmp_path, capsys):
    config = run.config.replace(repr(store), repr(str(tmp_path / "gone")))
    with open(run.config_path, "w", encoding="utf-8") as file:
        file.write(config)
    start(run, divided(store, (1, 2, 6)))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Mind that the configuration names other data than ")
    assert "whether it learnt from their test classes cannot be told" in line
