"""A run's best learner, exported; nothing slow is imported before it is needed."""

import os
from collections.abc import Sequence
from typing import Any

from kfsl.calibration.record import Calibration
from kfsl.calibration.words import probabilities_line
from kfsl.command_line import command, gin_files
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, weights_fingerprint
from kfsl.serving.files import EXAMPLE_FILE, GRAPH_FILE, read_description
from kfsl.serving.formats import FORMATS
from kfsl.serving.run_cards import evaluations_of

#: Training images from which the mean pixel is taken, at most.
MOST_IMAGES = 500


def export_run(
    run: RunDirectory,
    path: str,
    bindings: Sequence[str] = (),
    format_name: str = "saved_model",
) -> dict[str, Any]:
    """Exports the best learner of a run.

    Args:
        run: `RunDirectory`.
        path: str. The folder to write.
        bindings: list of str. Gin bindings that win over the run's own.
        format_name: str. Key of `kfsl.serving.formats.FORMATS`.

    Returns:
        The description that was written beside the graph.

    Raises:
        ValueError: if it is no run directory, `path` holds something else, or the learner cannot
            be had in this format.
        FileNotFoundError: if the run has no trained learner or its dataset is gone.
    """
    check_export(run, path, bindings, format_name)
    with command.quiet_start():
        from kfsl import configurables
        from kfsl.learners.base.settings import settings_fingerprint
        from kfsl.reinforcement.export_policy import export_policy
        from kfsl.reinforcement.policy_experiment import PolicyExperiment
        from kfsl.serving.export import export
        from kfsl.serving.export_as import export_as

    experiment = configurables.trained_experiment(run, bindings)
    configurables.check_overrides(bindings, run.config, "the exported learner")
    evaluations = evaluations_of(run, experiment.weights)
    if isinstance(experiment, PolicyExperiment):
        _refuse_policy(experiment, format_name)
        return export_policy(experiment, path, bindings, evaluations)
    settings = settings_fingerprint(experiment.learner)
    calibration = Calibration.of_learner(run.calibration_path, experiment.weights, settings)
    arguments = {
        "image_shape": experiment.dataset.image_shape,
        "training_data": training_data(experiment.dataset),
        "overrides": bindings,
        "weights": experiment.weights,
        "calibration": calibration,
        "evaluations": evaluations,
    }
    if format_name == "saved_model":
        return export(experiment.learner, path, **arguments)
    return export_as(format_name, experiment.learner, path, **arguments)


def exported(run: RunDirectory) -> str:
    """The run's SavedModel, made now if the run has none of its best learner.

    Args:
        run: `RunDirectory`.

    Returns:
        Its folder.
    """
    check_trained(run)
    lacking = _lacking(run)
    if lacking is not None:
        export_run(run, run.saved_model)
        print(f"exported {run.path} to {run.saved_model}{lacking}")
    return run.saved_model


def _lacking(run: RunDirectory) -> str | None:
    """What keeps the run's export from being one of its best learner, for a message; or None."""
    # Times of files do not tell: weights are read long before an export of them is written.
    if not os.path.lexists(os.path.join(run.saved_model, GRAPH_FILE)):
        return ""
    try:
        description = read_description(run.saved_model)
    except (ValueError, FileNotFoundError) as error:
        return f", since what was there could not be used: {error}"
    if description.get("overrides"):
        return f", since what was there differed by {', '.join(description['overrides'])}."
    if description.get("weights") != weights_fingerprint(run):
        return ", since what was there is of other weights, or does not say of which."
    settings = description.get("settings")
    calibration = Calibration.of_learner(run.calibration_path, description["weights"], settings)
    # Of an export that does not say its settings it is not known, so it is made anew.
    unknown = settings is None and os.path.isfile(run.calibration_path)
    found = None if calibration is None else calibration.served()
    if unknown or found != description.get("calibration"):
        return ", since what was there is of another calibration."
    return None


def _refuse_policy(experiment: Any, format_name: str) -> None:
    if format_name != "saved_model":
        raise ValueError(
            f"{type(experiment.learner).__name__} cannot be exported as "
            f"{FORMATS[format_name].title}: it is a policy, and kfsl writes classifiers of images. "
            "Export it as a SavedModel: --format=saved_model."
        )


def check_export(
    run: RunDirectory,
    path: str,
    bindings: Sequence[str] = (),
    format_name: str = "saved_model",
) -> None:
    """Finds, before TensorFlow is imported, what would stop an export.

    Raises:
        ValueError: if it is no run directory, `path` holds something else, or what the format
            needs is not installed.
        FileNotFoundError: if the run has no trained learner.
    """
    check_trained(run)
    gin_files.check([], list(bindings))
    FORMATS[format_name].check_installed()
    FORMATS[format_name].check_place(path)


def training_data(dataset: Any) -> dict[str, Any]:
    """What `classes.json` says: the dataset, its licence, and the classes that were trained on.

    Args:
        dataset: `FewShotDataset` or `FunctionDataset`.

    Returns:
        dict that JSON can hold.
    """
    store, train = dataset.store, dataset.split("train")
    if store is None:
        return {"dataset": dataset.name, "fingerprint": dataset.fingerprint}
    # One image a class, of some classes; the other splits are not looked at.
    offsets = train.offsets[:: -(-train.num_classes // MOST_IMAGES) or 1]
    return {
        "dataset": dataset.name,
        "licence": store.metadata.get("licence"),
        "citation": store.metadata.get("citation"),
        "fingerprint": dataset.fingerprint,
        "mean_pixel": round(float(store.images[offsets].mean()), 2),
        "training_classes": list(train.class_names),
    }


def summary(path: str, description: dict[str, Any]) -> list[str]:
    """Where the model lies and how it is used, in lines for people.

    Args:
        path: str. The folder of the SavedModel.
        description: dict. What lies beside it as `model.json`.

    Returns:
        list of str.
    """
    if "policy" in description:
        return _summary_of_policy(path, description)
    if description["image"] is None:
        return _summary_of_numbers(path, description)
    ways = description["ways"]["fixed"]
    number = "any number of new classes" if ways is None else f"{ways} new classes"
    height, width, channels = description["image"]["trained_shape"]
    transductive = " Transductive: queries influence each other." * description["transductive"]
    return [
        f"{description['learner']} is in {path}",
        f"It takes {number}, images {height}x{width}x{channels}, BN policy "
        f"{description['bn_policy']}.{transductive}",
        *_how_to_use(path, description),
        probabilities_line(description["calibration"]),
    ]


def _how_to_use(path: str, description: dict[str, Any]) -> list[str]:
    script = os.path.join(path, EXAMPLE_FILE)
    first = f"Try it:          python {script}"
    if "format" not in description:
        predict = f"python -m kfsl.predict --saved_model={path} --support=DIR --query=DIR"
        return [first, f"On your images:  {predict}"]
    left_out = [
        f"Left out:        {name}, which needs {reason}"
        for name, reason in description["left_out"].items()
    ]
    return [
        f"Signatures:      {', '.join(sorted(description['files'].values()))}",
        *left_out,
        first,
        f"On your images:  python {script} SUPPORT_FOLDER QUERY_FOLDER",
    ]


def _summary_of_numbers(path: str, description: dict[str, Any]) -> list[str]:
    inputs, targets = (
        " x ".join(map(str, description[name]["shape"])) for name in ("inputs", "targets")
    )
    script = os.path.join(path, EXAMPLE_FILE)
    return [
        f"{description['learner']} is in {path}",
        f"It takes points of {inputs} numbers with {targets} for each, and answers with {targets}.",
        f"Try it:          python {script}",
        f"On your points:  python {script} GIVEN.csv ASKED.csv",
    ]


def _summary_of_policy(path: str, description: dict[str, Any]) -> list[str]:
    sizes = description["policy"]
    return [
        f"{description['learner']} is in {path}",
        f"It sees {sizes['observation']} numbers, acts by {sizes['action']}, and adapts to what it "
        "earned.",
        f"Try it:          python {os.path.join(path, EXAMPLE_FILE)}",
    ]
