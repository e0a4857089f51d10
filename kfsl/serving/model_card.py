"""The model card: what a model is, what it takes, what was measured of it and what is not known."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from kfsl.calibration.words import probabilities_line
from kfsl.runs.environment import now
from kfsl.runs.evaluation_record import Evaluation
from kfsl.serving.card_measurements import measured_lines, model_index
from kfsl.serving.formats import FORMATS

_MARK = "<!-- written by kfsl: "


def model_card(
    description: Mapping[str, Any],
    classes: Mapping[str, Any],
    evaluations: Sequence[Evaluation] = (),
    written: str | None = None,
) -> str:
    """The text of `README.md` beside an exported model.

    Args:
        description: mapping, what `model.json` says.
        classes: mapping, what `classes.json` says.
        evaluations: sequence of `Evaluation`. Those of other weights are left out; an export of
            no known weights has none.
        written: str or None. When, ISO 8601; None is now.

    Returns:
        str, Markdown with the front matter that model hubs read. Its last line is a fingerprint
        of the rest, by which a card that somebody edited is known.

    Example:
    ```python
    from kfsl.serving.model_card import is_as_written, model_card

    description = {"learner": "SimpleShot", "transductive": False, "image": None, "weights": ""}
    card = model_card(description, {})
    assert "Not evaluated" in card and is_as_written(card)
    assert not is_as_written(card.replace("Not evaluated", "Perfect"))
    ```
    """
    weights = description.get("weights")
    own = [each for each in evaluations if weights and each.weights == weights]
    parts = [
        _front_matter(description, own),
        f"# {description['learner']}",
        *_what_it_is(description),
        "## What it takes",
        *_what_it_takes(description),
        "## Trained on",
        *_trained_on(classes),
        "## Measured",
        *measured_lines(description, own),
        "## Not known, and mind",
        _bullets(_caveats(description)),
        "## Versions",
        _versions(description, written or now()),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n\n"
    return f"{text}{_MARK}{_fingerprint(text)} -->\n"


def is_as_written(card: str) -> bool:
    """Whether nobody has edited a card since kfsl wrote it.

    Args:
        card: str. The text of `README.md`.

    Returns:
        bool.
    """
    text, mark, rest = card.rpartition(_MARK)
    return bool(mark) and rest.strip() == f"{_fingerprint(text)} -->"


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _front_matter(description: Mapping[str, Any], own: Sequence[Evaluation]) -> str:
    image = description["image"] is not None
    tags = ["few-shot-learning", "keras", description.get("format", "saved_model")]
    lines = [
        "---",
        "library_name: kfsl",
        # The licence of weights is their owner's to choose.
        "license: unknown",
        *(["pipeline_tag: image-classification"] if image else []),
        "tags:",
        *(f"- {tag}" for tag in tags),
        *model_index(description, own),
        "---",
    ]
    return "\n".join(lines)


def _what_it_is(description: Mapping[str, Any]) -> list[str]:
    about = description.get("about") or {}
    title = FORMATS[description.get("format", "saved_model")].title
    said = [about.get("summary", ""), f"Written by kfsl as {title}."]
    if about.get("reference"):
        said.append(f"Reference: {about['reference']}")
    facts = []
    if about:
        elsewhere = ", trained elsewhere" * about["pretrained"]
        facts.append(f"Backbone: {about['backbone'] or 'none'}{elsewhere}")
        facts.append(
            f"Parameters: {about['parameters']:,}, of which training moves {about['trainable']:,}"
        )
    facts.append(_company(description))
    return [*said, _bullets(facts)]


def _company(description: Mapping[str, Any]) -> str:
    policy = f"BN policy `{description.get('bn_policy')}`"
    if description["transductive"]:
        return f"**Transductive**: the queries of a call influence each other; {policy}"
    return f"Inductive: each query is answered for itself; {policy}"


def _what_it_takes(description: Mapping[str, Any]) -> list[str]:
    image, ways = description["image"], description.get("ways") or {}
    if image is None:
        if "policy" in description:
            sizes = description["policy"]
            return [f"{sizes['observation']} numbers seen, {sizes['action']} of an action."]
        inputs = description.get("inputs", {}).get("shape")
        return [f"Points of the shape {inputs}, with targets; see `model.json`."]
    height, width, channels = image["trained_shape"]
    size = "that size alone"
    if None in image["shape"]:
        size = f"other sizes too, {image['smallest_size']} pixels or more"
    number = "any number" if ways["fixed"] is None else str(ways["fixed"])
    fewer = " or fewer" if ways["fixed"] is not None and ways["fewer"] else ""
    shots = description["shots"]
    facts = [
        f"Images of {height}x{width} pixels, {channels} channel{'s' * (channels != 1)}; {size}",
        "Pixels: uint8, 0 to 255, as in the file",
        f"Classes of an episode: {number}{fewer}",
        f"Support images of a class: {shots['minimum']} or more; they may differ between classes",
        "Queries: any number",
    ]
    return [_bullets(facts), "All limits stand in `model.json`."]


def _trained_on(classes: Mapping[str, Any]) -> list[str]:
    if "environment" in classes:
        return [f"The environment {classes['environment']}."]
    if not classes.get("dataset"):
        return ["Not known: the export was not made from a run."]
    names = classes.get("training_classes")
    facts = [f"Dataset: {classes['dataset']}"]
    if names is not None:
        facts.append(f"Classes: the {len(names)} of the split `train`; `classes.json` names them")
    facts.append(f"Licence of the data: {classes.get('licence') or 'not known'}")
    if classes.get("citation"):
        facts.append(f"Citation: {' '.join(classes['citation'].split())}")
    if classes.get("fingerprint"):
        facts.append(f"Fingerprint: `{classes['fingerprint']}`")
    return [_bullets(facts)]


def _caveats(description: Mapping[str, Any]) -> list[str]:
    said = ["The licence of these weights: kfsl does not choose it"]
    if (description.get("about") or {}).get("pretrained"):
        said.append(
            "The backbone was trained elsewhere. If its images had the classes that it is "
            "measured on, as ImageNet's have miniImageNet's and some of CIFAR-100's and CUB's, "
            "the numbers are leakage and no few-shot results"
        )
    if description["image"] is not None:
        said.append("Accuracy on other images than the dataset's, or of another size")
        said.append(probabilities_line(description.get("calibration")).rstrip("."))
    if description.get("overrides"):
        differs = ", ".join(f"`{each}`" for each in description["overrides"])
        said.append(f"It differs from how it was trained by {differs}")
    if description.get("label_checks") is False:
        said.append("Labels that do not fit are not refused: the answers to them are NaN")
    return said


def _versions(description: Mapping[str, Any], written: str) -> str:
    versions = description.get("versions") or {}
    facts = [f"{name} {value}" for name, value in versions.items() if value]
    said = [", ".join(facts)] if facts else []
    if description.get("exported"):
        said.append(f"Exported {description['exported']}")
    weights = description.get("weights")
    said.append(f"Weights: `{weights}`" if weights else "Weights: from no file of a run")
    said.append(
        f"This card was written {written}. `python -m kfsl.evaluate --run_dir=RUN` writes it "
        "again where an export in the run, `RUN/saved_model`, `RUN/onnx` or `RUN/litert`, is of "
        "the weights that it measures, unless somebody has edited it; so does "
        "`python -m kfsl.export`"
    )
    return _bullets(said)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
