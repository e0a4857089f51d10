"""Fits a temperature and a threshold on validation episodes."""

import dataclasses
from collections.abc import Callable
from typing import Any

from data_pipelines.samplers.open_set_episode import classes_left
from kfsl.calibration.record import Calibration
from kfsl.calibration.scores import SCORES
from kfsl.calibration.temperature import fit_temperature
from kfsl.calibration.threshold import KNOWN_ACCEPTED, accepting_threshold, fewest_scores
from kfsl.episodes import QUERY_CLASSES
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.evaluation.open_set import with_unknown_queries
from kfsl.evaluation.parts import EvaluationPart, evaluation_of
from kfsl.evaluation.probability_tally import ProbabilityTally
from kfsl.experiment import Experiment
from kfsl.learners.base.settings import settings_fingerprint

#: Held out from training, and not what results are reported on.
SPLIT = "val"


def calibrate(
    experiment: Experiment,
    evaluate: Callable[..., EvaluationPart],
    sampler: Callable,
    known_accepted: float = KNOWN_ACCEPTED,
    **arguments: Any,
) -> Calibration:
    """Fits a temperature on validation episodes, and a threshold where classes are left.

    First the temperature, on the queries of the episodes' own classes. Then, of logits that it
    has divided, the score that tells these from queries of other classes best, over all episodes
    together, and the highest threshold that lets the wanted share of known queries pass.

    Args:
        experiment: `Experiment`.
        evaluate: function. `kfsl.evaluation.evaluate.evaluate`, perhaps with gin's bindings.
        sampler: function. `open_set_episode`, perhaps with gin's bindings.
        known_accepted: float, in 0..1. Share of known queries that the threshold is to let pass.
        **arguments: of `evaluate`, such as `episodes`.

    Returns:
        `Calibration`, of the experiment's weights.

    Raises:
        ValueError: as `evaluate`; if answers are no probabilities; or if there are too few
            queries for a threshold.
    """
    if not isinstance(experiment, Experiment) or not experiment.learner.objective.has_classes:
        raise ValueError(
            f"{type(experiment.learner).__name__} answers with no classes: there are no "
            "probabilities to calibrate."
        )
    # A sampler that has no classes says so itself.
    classes = experiment.dataset.split(SPLIT)
    asked = experiment
    if classes_left(classes, EVALUATION_SEED, experiment.evaluation_sampler):
        asked = with_unknown_queries(experiment, sampler)
    # As a part, it keeps the logits; of one part that is everything.
    opened = closed = evaluate(asked, split=SPLIT, shard=(0, 1), **arguments)
    if experiment.learner.transductive and asked is not experiment:
        # Unknown queries have a say in the others' logits.
        closed = evaluate(experiment, split=SPLIT, shard=(0, 1), **arguments)
    found = fitted(closed, opened, experiment.learner.objective, known_accepted)
    settings = settings_fingerprint(experiment.learner)
    return dataclasses.replace(found, weights=experiment.weights, settings=settings)


def fitted(
    closed: EvaluationPart, opened: EvaluationPart, objective: Any, known_accepted: float
) -> Calibration:
    """The calibration that the episodes of an evaluation ask for.

    Args:
        closed: `EvaluationPart`, the only one of its evaluation: for the temperature.
        opened: `EvaluationPart`, perhaps with unknown queries, for the threshold. Where they
            have no say in the others' logits it may be the same.
        objective: `Objective` of the learner.
        known_accepted: float, in 0..1.

    Returns:
        `Calibration`, of no weights and settings.

    Raises:
        ValueError: if there are too few queries for a threshold.
    """
    logits, labels = [], []
    for batch in closed.batches:
        for rows, truth in zip(batch.outputs, batch.labels, strict=True):
            logits.append(rows[truth >= 0])
            labels.append(truth[truth >= 0])
    temperature = fit_temperature(logits, labels)
    tally = _tally(closed, temperature)
    measured = tally.calibration()
    about = evaluation_of(closed, closed.batches, objective)
    if opened is not closed:
        tally = _tally(opened, temperature)
    return Calibration(
        temperature=temperature,
        split=about.split,
        episodes=about.episodes,
        ways=about.ways,
        shots=about.shots,
        queries=about.queries,
        seed=about.seed,
        dataset=about.dataset,
        dataset_fingerprint=about.dataset_fingerprint,
        weights="",
        settings="",
        overrides=[],
        before=measured["raw"],
        after=measured["scaled"],
        rejection=_rejection(tally, known_accepted),
    )


def _tally(part: EvaluationPart, temperature: float) -> ProbabilityTally:
    tally = ProbabilityTally({"temperature": temperature})
    for batch in part.batches:
        tally.add(batch.labels, batch.episode[QUERY_CLASSES], batch.outputs)
    return tally


def _rejection(tally: ProbabilityTally, known_accepted: float) -> dict[str, Any] | None:
    found = tally.open_set()
    if not found:
        return None
    score = max(SCORES, key=lambda name: found["auroc"][name]["pooled"][0])
    known = tally.known_scores(score)
    fewest = fewest_scores(known_accepted)
    if len(known) < fewest:
        raise ValueError(
            f"A threshold that lets {known_accepted:.0%} of the known pass needs {fewest} queries "
            f"of known classes, and these episodes have {len(known)}. Calibrate on more episodes."
        )
    threshold = accepting_threshold(known, known_accepted)
    return found | {
        "score": score,
        "threshold": threshold,
        "known_accepted": known_accepted,
        "rates": tally.rates(score, threshold),
    }
