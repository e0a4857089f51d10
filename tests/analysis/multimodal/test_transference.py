"""Histograms of transference: of modes, of kept epochs, of several runs."""

import json

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kfsl.analysis.multimodal.transference import difference, histogram_figure, summary
from kfsl.analysis.multimodal.transference_name import transference_name
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.runs.run_directory import RunDirectory
from tests.support import letters, mixed_runs
from tests.support.commands import run_command
from tests.support.refusals import refusal


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return mixed_runs.write_mixed(str(tmp_path_factory.mktemp("stores") / "mixed"))


def read(files):
    with open(next(file for file in files if file.endswith(".json")), encoding="utf-8") as file:
        return json.load(file)


def test_runs_and_kept_epochs_meet_the_same_tasks(mixed, tmp_path):
    kml, film = (
        mixed_runs.mixed_run(str(tmp_path / name), mixed, generator, kept=(1, 2))
        for name, generator in (("kml", "factorised"), ("film", "film"))
    )
    options = {
        "episodes": 4, "targets": 2, "rate": 0.05, "kept_epochs": (1, 2), "source_mode": "plain",
        "target_mode": "dark",
    }  # fmt: skip
    files = analyze("transference", AnalysisRequest(kml), compare=(film,), **options)
    assert files[0].endswith(
        "/transference_plain_to_dark_test_episodes_4_targets_2_rate_0.05_kept_epochs_1_2_compare_film.png"
    )
    values = read(files)
    assert list(values["runs"]) == ["kml", "film"]
    for stages in values["runs"].values():
        assert list(stages) == ["epoch 1", "epoch 2", "best"]
        found = [np.array(stage["ratios"]) for stage in stages.values()]
        assert all(each.shape == (4, 2) and np.all(each > 0) for each in found)
        assert not np.allclose(found[0], found[1])
    kml_best, film_best = (
        np.array(values["runs"][name]["best"]["ratios"]) for name in ("kml", "film")
    )
    assert values["against"]["film"]["mean"] == pytest.approx(np.mean(kml_best - film_best))
    # A run alone finds what it found beside another one, and the same without going back.
    alone = analyze("transference", AnalysisRequest(film), **{**options, "kept_epochs": ()})
    np.testing.assert_array_equal(read(alone)["runs"]["film"]["best"]["ratios"], film_best)


def test_modes_change_the_tasks(mixed, tmp_path):
    run = mixed_runs.mixed_run(str(tmp_path / "prototypes"), mixed, None)
    found = {}
    for source in ("plain", "dark", None):
        files = analyze(
            "transference", AnalysisRequest(run), episodes=2, source_mode=source, rate=0.05
        )
        found[source] = np.ravel(read(files)["runs"]["prototypes"]["best"]["ratios"])
    assert not np.allclose(found["plain"], found["dark"])
    # Tasks of any mode in turn are of one and of the other.
    # Weights of all modes say nothing of one.
    weighted = AnalysisRequest(run, ("mixture_episode.weights = (1.0, 3.0)",))
    files = analyze("transference", weighted, episodes=2, source_mode="plain", rate=0.05)
    sources = read(files)["runs"]["prototypes"]["best"]["ratios"]
    assert len(sources) == 2
    for i in range(2):
        assert found[None][i] in (found["plain"][i], found["dark"][i])


def test_learners_without_modes(store, run):
    files = analyze("transference", AnalysisRequest(run), episodes=3)
    ratios = np.array(read(files)["runs"]["run"]["best"]["ratios"])
    assert ratios.shape == (3, 1)
    assert files[-1].endswith("/transference_test_episodes_3.json")
    # Another question does not take the answer's place.
    for option in ({"index": 2}, {"targets": 2}, {"rate": 0.5}, {"split": "val"}):
        other = analyze("transference", AnalysisRequest(run), **{"episodes": 3, **option})
        assert not set(other) & set(files)
    np.testing.assert_array_equal(read(files)["runs"]["run"]["best"]["ratios"], ratios)
    with pytest.raises(ValueError, match="episodes are of no mixture"):
        analyze("transference", AnalysisRequest(run), source_mode="plain")


def test_the_command(mixed, tmp_path, monkeypatch, capsys):
    run = mixed_runs.mixed_run(str(tmp_path / "prototypes"), mixed, None, kept=(1,))
    answer = run_command(
        monkeypatch, capsys, "kfsl.analyze", "--analysis=transference", f"--run_dir={run.path}",
        "--episodes=3", "--targets=2", "--source_mode=plain", "--target_mode=dark", "--index=4",
        "--rate=0.01", "--kept_epochs=1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("prototypes, epoch 1: ")
    assert " % below 1, mean " in lines[1]
    assert [line.rpartition(".")[2] for line in lines[2:]] == ["png", "json"]
    name = "transference_plain_to_dark_test_index_4_episodes_3_targets_2_rate_0.01_kept_epochs_1"
    values = read([f"{run.path}/analysis/{name}.json"])
    assert (values["rate"], values["targets"], values["index"]) == (0.01, 2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kept_epochs=1,x"], "--kept_epochs takes epochs with commas between them"),
        (["--kept_epochs=7"], "did not keep its learner of epoch 7: bind train.keep_epochs = (7,)"),
        (["--rate=-1"], "flag --rate=-1"),
        (["--targets=0"], "flag --targets=0"),
        (["--query=1"], "--query is not read by --analysis=transference"),
    ],
)
def test_bad_input_is_named(store, tmp_path, arguments, message):
    run = letters.trained_run(str(tmp_path / "run"), store)
    given = ["--analysis=transference", f"--run_dir={run.path}", *arguments]
    assert message in refusal(tmp_path, "kfsl.analyze", *given)


def test_names_of_files():
    assert transference_name("test", None, None, {}) == "transference_test"
    modes = ("omniglot@mixed:inverted", None)
    assert transference_name("val", *modes, {}) == "transference_omniglot-mixed-inverted_to_val"
    many = tuple(RunDirectory(f"runs/a_run_of_seed_{seed}") for seed in range(40))
    names = {transference_name("test", None, None, {"compare": many[:n]}) for n in (39, 40)}
    assert len(names) == 2
    assert max(map(len, names)) < 200
    asked = [{"compare": (RunDirectory(f"seed{seed}/film"),)} for seed in (0, 1)]
    names = [transference_name("test", None, None, each, "seed0/plain") for each in asked]
    assert names[0] == "transference_test_compare_film"
    assert names[1].startswith("transference_test_compare_film-")


def test_summaries_count_a_source_once():
    ratios = np.array([[0.5, 1.5], [0.9, 0.9], [1.1, 1.3]])
    found = summary(ratios)
    assert found["share_below_one"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert found["share_interval"] == pytest.approx(1.96 * 0.5 / 3**0.5)
    assert found["mean"] == pytest.approx(np.mean([1.0, 0.9, 1.2]))
    assert found["median"] == pytest.approx(1.0)
    apart = difference(ratios, ratios + np.array([[0.1], [0.2], [0.3]]))
    assert apart["mean"] == pytest.approx(-0.2)
    assert apart["interval"] == pytest.approx(1.96 * 0.1 / 3**0.5)
    assert apart["share_smaller"] == 1.0


def test_bars_hold_every_task_and_one_is_marked():
    stage = summary(np.linspace(0.9, 1.05, 200)[:, None])
    figure = histogram_figure({"a": {"epoch 1": stage, "best": stage}, "b": {"best": stage}}, "t")
    shown = [axes for axes in figure.axes if axes.patches]
    assert len(shown) == 3
    for axes in shown:
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(1.0)
        (line,) = axes.lines
        assert list(line.get_xdata()) == [1.0, 1.0]
    assert shown[0].get_title() == "a\nepoch 1: 66 % below 1"


def test_words_of_long_names_lie_in_the_figure():
    stage = summary(np.linspace(0.9, 1.05, 200)[:, None])
    long = "two_mode_prototypical_network_5way_1shot_mini_imagenet"
    tasks = "300 source tasks, target tasks of test: 1"
    title = f"transference, omniglot:inverted to mini_imagenet\n{tasks}"
    for stages in (("best",), ("epoch 2", "best")):
        found = {name: dict.fromkeys(stages, stage) for name in (long, "$a_b$")}
        figure = histogram_figure(found, title)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        headings = [axes.title for axes in figure.axes]
        assert headings[-1].get_text() == "$a_b$\nbest: 66 % below 1"
        extents = [
            text.get_window_extent(canvas.get_renderer()) for text in (*figure.texts, *headings)
        ]
        assert len(extents) == 1 + 2 * len(stages)
        assert all(figure.bbox.x0 <= each.x0 < each.x1 <= figure.bbox.x1 for each in extents)
        if len(stages) > 1:  # Nor over its neighbour.
            assert extents[1].x1 < extents[2].x0
