"""Validation curves of several runs."""

import numpy as np
import pytest

from kfsl.analysis.evaluations.validation_curves import validation_curves
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.callbacks.figure_summary import figure_to_rgb

STEPS = (100, 200, 300)


def run_of(folder, accuracies, intervals=(0.03, 0.02, 0.01)):
    run = RunDirectory(str(folder))
    folder.mkdir(parents=True)
    for step, accuracy, interval in zip(STEPS, accuracies, intervals, strict=True):
        run.append_metrics({"step": step, "epoch": step // 100, "loss": 1.0})
        run.append_metrics(
            {"step": step, "val_accuracy": accuracy, "val_accuracy_interval": interval}
        )
    return str(folder)


def test_one_curve_with_its_interval_for_each_run(tmp_path):
    accuracies = {"full": (0.4, 0.5, 0.6), "no_semantics": (0.3, 0.45, 0.5)}
    runs = [run_of(tmp_path / name, values) for name, values in accuracies.items()]
    axes = validation_curves(runs).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(accuracies)
    for line, band, values in zip(axes.lines, axes.collections, accuracies.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), STEPS)
        np.testing.assert_allclose(line.get_ydata(), values)
        vertices = band.get_paths()[0].vertices
        for step, value, interval in zip(STEPS, values, (0.03, 0.02, 0.01), strict=True):
            edges = vertices[vertices[:, 0] == step, 1]
            np.testing.assert_allclose(
                [edges.min(), edges.max()], [value - interval, value + interval]
            )


def test_names_may_be_given_and_folders_may_share_theirs(tmp_path):
    runs = [run_of(tmp_path / seed / "run", (0.4, 0.5, 0.6)) for seed in ("a", "b")]

    def legend(*arguments):
        texts = validation_curves(*arguments).axes[0].get_legend().get_texts()
        return [text.get_text() for text in texts]

    assert legend(runs, ["first", "_second"]) == ["first", " _second"]
    assert legend(runs) == runs
    with pytest.raises(ValueError, match="1 names for 2 runs"):
        legend(runs, ["first"])


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
    run = run_of(tmp_path / "run", (0.4, 0.5, 0.6))
    with open(RunDirectory(run).metrics_path, "a", encoding="utf-8") as file:
        file.write('{"step": 400, "val_accu')
    line = validation_curves([run]).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), STEPS)


def test_another_metric_needs_no_interval(tmp_path):
    run = RunDirectory(str(tmp_path))
    run.append_metrics({"step": 1, "val_loss": 2.0})
    run.append_metrics({"step": 2, "val_loss": 1.0})
    figure = validation_curves([str(tmp_path)], metric="val_loss")
    assert figure.axes[0].get_ylabel() == "loss (validation)"
    assert np.ptp(figure_to_rgb(figure)) == 255


@pytest.mark.parametrize("content", [None, '{"step": 1, "loss": 2.0}\n'])
def test_a_run_without_validation_is_named(tmp_path, content):
    if content:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(ValueError, match=f"'{tmp_path}' has no 'val_accuracy'"):
        validation_curves([str(tmp_path)])
    with pytest.raises(ValueError, match="at least one"):
        validation_curves([])
