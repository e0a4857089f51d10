"""`python -m kfsl.predict`: classifies your images from a few examples of each class.

    python -m kfsl.predict --saved_model=DIR --support=DIR --query=DIR|FILE \\
        [--output=FILE.csv|FILE.json] [--steps=N] [--classes=new|both] [--none_of_these]

The support folder has one folder of images per class. `--run_dir=RUN` takes the place of
`--saved_model`: the run's best learner, exported if it is not yet. `--steps` is for methods that
learn a support set by gradient steps, and says how many. With `--classes=both` an image may also
be of a class that the model was trained on, where the method keeps those; with `--none_of_these`
it may be of none.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import flags

from data_pipelines.datasets.folder_listing import left_out_words
from kfsl.calibration.words import probabilities_line
from kfsl.command_line import command
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR
from kfsl.exported_run import exported
from kfsl.prediction import support_report
from kfsl.prediction import words as prediction_words
from kfsl.prediction.image_folders import (
    ImageFiles,
    SupportFiles,
    common_values,
    find_queries,
    find_support,
)
from kfsl.prediction.rejection import NONE, Rejection
from kfsl.prediction.request_checks import (
    check_base_classes,
    check_images,
    check_none_of_these,
    check_output,
    check_rejection,
    check_shots,
    check_ways,
)
from kfsl.prediction.table import MOST_ROWS, PredictionTable
from kfsl.runs.files import write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.serving.files import (
    calibration_of,
    check_steps,
    chosen_steps,
    read_description,
    read_training_data,
)

CLASSES = ("new", "both")


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("saved_model", None, "The folder that kfsl.export wrote.")
    flags.DEFINE_string("support", None, "A folder with one folder of images per class.")
    flags.DEFINE_string("query", None, "The image to classify, or a folder of images.")
    flags.DEFINE_string("output", None, "A file for the predictions, .csv or .json.")
    flags.DEFINE_integer("steps", None, "Gradient steps, where the method takes any number.")
    flags.DEFINE_enum("classes", "new", CLASSES, "Which classes the images may be of.")
    flags.DEFINE_bool("none_of_these", False, "Images may be of none of the classes.")
    command.run(_main)


def _main() -> None:
    options = flags.FLAGS
    for name, why in (
        ("support", "a folder with one folder of images per class"),
        ("query", "the image or the folder of images to classify"),
    ):
        if not options[name].value:
            raise ValueError(f"--{name} is missing: {why}.")
    # Here too: a run may have to be exported first, which takes seconds.
    check_output(options.output)
    find_support(options.support)
    find_queries(options.query)
    check_steps("--steps", options.steps)
    for line in predict_folders(
        _model_path(),
        options.support,
        options.query,
        options.output,
        options.steps,
        options.classes == "both",
        options.none_of_these,
    ):
        print(line)


def predict_folders(
    saved_model: str,
    support_path: str,
    query_path: str,
    output: str | None = None,
    steps: int | None = None,
    base_classes: bool = False,
    none_of_these: bool = False,
) -> list[str]:
    """Classifies the images of a folder and says how far its support set can be trusted.

    Args:
        saved_model: str. The folder that `kfsl.export` wrote.
        support_path: str. A folder with one folder of images per class.
        query_path: str. An image, or a folder of images.
        output: str or None. A `.csv` or `.json` file; written whole or not at all.
        steps: int or None. Gradient steps on the support set; None: the model's own number.
        base_classes: bool. Whether images may also be of a class that the model was trained on.
        none_of_these: bool. Whether they may be of none of the classes.

    Returns:
        list of str, lines for people.

    Raises:
        FileNotFoundError: if the model, a folder or the file is missing.
        ValueError: if an image cannot be read, the folders do not fit the model, it does not take
            `steps`, it keeps no base classes, or nothing tells where none of them begins.
    """
    # Everything a user can get wrong shows before TensorFlow is imported.
    check_output(output)
    description = read_description(saved_model)
    check_images(description, saved_model)
    steps = chosen_steps(description, steps)
    trained_on = read_training_data(saved_model)
    if base_classes:
        check_base_classes(description, trained_on)
    support, queries = find_support(support_path), find_queries(query_path)
    check_ways(description, len(support.classes), repr(support_path))
    check_shots(description, dict(zip(support.classes, support.counts, strict=True)))
    if none_of_these:
        check_none_of_these(support.classes, base_classes)
        check_rejection(description, support.counts, steps)
    shape = tuple(description["image"]["trained_shape"])
    values = common_values(support, queries)
    support_images, query_images = support.pixels(shape, values), queries.pixels(shape, values)
    with command.quiet_start():
        from kfsl.classifier import FewShotClassifier

    classifier = FewShotClassifier(
        saved_model,
        steps=steps,
        base_classes=base_classes,
        none_label=NONE if none_of_these else None,
    )
    table, left_out, rejection = _predict(
        classifier, support, support_images, queries, query_images
    )
    base = len(trained_on["training_classes"]) if base_classes else 0
    warnings = support_report.warnings_of(
        support, support_images, queries, query_images, trained_on.get("mean_pixel")
    )
    transductive = description["transductive"]
    words = support_report.leave_one_out_lines(
        support, left_out, transductive, description["shots"]["minimum"]
    )
    honesty = probabilities_line(calibration_of(description, steps), base_classes)
    if output:
        beside = {
            "saved_model": saved_model,
            "learner": description["learner"],
            "steps": steps,
            "base_classes": base,
            "support": support_report.support_values(support, left_out),
            "warnings": [*warnings, honesty],
            **({} if rejection is None else {"none_of_these": rejection.to_json()}),
        }
        text = table.csv() if output.lower().endswith(".csv") else table.json(beside)
        write_text(output, text)
    return [
        prediction_words.model_line(description, trained_on),
        "",
        table.text(MOST_ROWS if output else None),
        *_after_table(table, queries, support, output),
        "",
        prediction_words.support_line(support),
        *prediction_words.how_lines(description, steps, len(queries.names), base),
        *words,
        *(
            []
            if rejection is None
            else [rejection.line(int(table.rejected.sum()), len(table.images))]
        ),
        *(f"Warning: {warning}" for warning in warnings),
        honesty,
    ]


def _model_path() -> str:
    run_path, saved_model = RUN_DIR.value, flags.FLAGS.saved_model
    if bool(run_path) == bool(saved_model):
        raise ValueError("Name the model with either --saved_model=DIR or --run_dir=RUN.")
    if GIN_FILE.value or GIN_PARAM.value:
        raise ValueError(
            "--gin_file and --gin_param have no place here: the model is made. To change it, "
            "export it first: python -m kfsl.export --run_dir=RUN --gin_param=... --output=DIR"
        )
    return saved_model or exported(RunDirectory(run_path))


def _predict(
    classifier: Any,
    support: SupportFiles,
    support_images: np.ndarray,
    queries: ImageFiles,
    query_images: np.ndarray,
) -> tuple[PredictionTable, Any, Rejection | None]:
    classifier.fit(support_images, [support.classes[label] for label in support.labels])
    answers = classifier.answers(query_images)
    left_out = None if classifier.transductive else classifier.evaluate_loo()
    table = PredictionTable(queries.names, classifier.classes_.tolist(), answers["probabilities"])
    if classifier.none_label is None:
        return table, left_out, None
    rejection, logits = classifier.rejection_, answers["logits"]
    table = dataclasses.replace(
        table, scores=rejection.scores(logits), rejected=rejection.rejected(logits)
    )
    return table, left_out, rejection


def _after_table(
    table: PredictionTable, queries: ImageFiles, support: SupportFiles, output: str | None
) -> list[str]:
    lines = []
    if output:
        hidden = len(table.images) - MOST_ROWS
        more = f"... and {hidden} more; " if hidden > 0 else ""
        lines.append(f"{more}written to {output}")
    for where, files in (("in the support set", support), ("among the queries", queries)):
        if files.skipped:
            lines.append(f"Left out {where}: {left_out_words(files.left_out)}.")
    folders = [name.split("/")[0] if "/" in name else None for name in table.images]
    if all(folder in support.classes for folder in folders):
        right = sum(a == b for a, b in zip(folders, table.predictions, strict=True))
        low, high = support_report.wilson_interval(right, len(folders))
        lines.append(
            f"{right} of {len(folders)} queries ({right / len(folders):.1%}; 95 % interval "
            f"{low:.0%} to {high:.0%}) get the class whose folder they lie in."
        )
    return lines


if __name__ == "__main__":
    main()
