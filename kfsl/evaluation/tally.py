"""Counts what happened in each episode of an evaluation."""

from collections.abc import Sequence

import numpy as np

from kfsl.episodes import QUERY_CLASSES, SUPPORT_CLASSES, SUPPORT_LABELS, SUPPORT_MASK
from kfsl.evaluation.episode_tally import EpisodeTally

#: Of a thousand classes most pairs meet once; the rare confusions would only swell the file.
MAX_CONFUSIONS = 500


class EvaluationTally(EpisodeTally):
    """Adds up accuracies, sizes and confusions, meta-batch by meta-batch.

    Args:
        class_names: sequence of str. The classes of the split; base classes before them.
        base_classes: int. How many of them are base classes, whose labels are those below
            theirs: the support set's labels begin after them. Defaults to `0`.

    Example:
    ```python
    import numpy as np
    from kfsl.episodes import EpisodeSpec
    from kfsl.evaluation.tally import EvaluationTally

    spec = EpisodeSpec(ways=2, shots=1, queries=2, image_shape=(8, 8, 1))
    episode, query_labels = spec.random_episode(classes=3)
    tally = EvaluationTally(("a", "b", "c"))
    tally.add(episode, query_labels, logits=np.eye(2)[[[0, 0, 1, 0]]])
    assert tally.values == [0.75]
    assert tally.ways == 2 and tally.queries == 2
    ```
    """

    def __init__(self, class_names: Sequence[str], base_classes: int = 0) -> None:
        super().__init__(("ways", "shots", "queries"))
        self.base_classes = base_classes
        self.class_names = tuple(class_names)
        self._correct = np.zeros(len(class_names), np.int64)
        self._queries = np.zeros(len(class_names), np.int64)
        self._confused: list[np.ndarray] = []
        self._met: list[np.ndarray] = []
        self._met_queries: list[np.ndarray] = []

    def add(
        self, episode: dict[str, np.ndarray], query_labels: np.ndarray, logits: np.ndarray
    ) -> None:
        """Adds a meta-batch.

        Args:
            episode: dict of arrays; `support_labels`, `support_classes`, `query_classes`, each
                `[B, ...]`, and `support_mask` if there is padding; of a batch of base classes,
                `query_classes` alone.
            query_labels: int array, `[B, Q]`. Queries of no class of the episode, whose label is
                negative, do not count.
            logits: array, `[B, Q, ways]`. Labels and columns count base classes first;
                `query_classes` too, `support_classes` are those of the split.
        """
        predictions = np.argmax(logits, axis=-1)
        masks = episode.get(SUPPORT_MASK)
        self._add_modes(episode, len(query_labels))
        for b in range(len(query_labels)):
            mask = slice(None) if masks is None else masks[b]
            known = query_labels[b] >= 0
            support = (SUPPORT_LABELS, SUPPORT_CLASSES)
            self._add_episode(
                [episode[name][b][mask] for name in support if name in episode],
                query_labels[b][known],
                episode[QUERY_CLASSES][b][known],
                predictions[b][known],
            )

    def _add_episode(
        self,
        support: list[np.ndarray],
        labels: np.ndarray,
        classes: np.ndarray,
        predictions: np.ndarray,
    ) -> None:
        hits = predictions == labels
        self._count(float(np.mean(hits)), (*support, labels, classes), "<i4")
        if support:
            support_labels, support_classes = support
            class_of_label = np.arange(self.base_classes + support_labels.max() + 1)
            class_of_label[self.base_classes + support_labels] = self.base_classes + support_classes
            self._sizes["shots"].update(np.bincount(support_labels).tolist())
        else:
            # A batch of base classes: a label is the class itself.
            class_of_label = np.arange(len(self.class_names))
            self._sizes["shots"].add(0)
        asked = np.bincount(labels, minlength=len(class_of_label))
        self._sizes["ways"].add(len(class_of_label) - self.base_classes)
        self._sizes["queries"].update(asked[self.base_classes :].tolist())
        np.add.at(self._correct, classes[hits], 1)
        np.add.at(self._queries, classes, 1)
        # A pair of classes as one number: true * classes + other.
        count = len(self.class_names)
        confused = ~hits & (predictions < len(class_of_label))
        self._confused.append(classes[confused] * count + class_of_label[predictions[confused]])
        self._met.append((class_of_label[:, None] * count + class_of_label).ravel())
        self._met_queries.append(np.repeat(asked, len(class_of_label)))

    def class_counts(self) -> dict[str, list[int]]:
        """Class name to `[correct, queries]`, for the classes that were asked."""
        return {
            self.class_names[c]: [int(self._correct[c]), int(self._queries[c])]
            for c in np.flatnonzero(self._queries)
        }

    def confusions(self, limit: int = MAX_CONFUSIONS) -> list[list]:
        """`[true class, predicted class, times, queries]`, the most frequent ones, in order."""
        pairs, times = np.unique(np.concatenate(self._confused), return_counts=True)
        met, place = np.unique(np.concatenate(self._met), return_inverse=True)
        posed = np.bincount(place, weights=np.concatenate(self._met_queries))
        posed = posed[np.searchsorted(met, pairs)]
        order = np.lexsort((pairs, -times))[:limit]
        names, count = self.class_names, len(self.class_names)
        return [
            [names[pairs[i] // count], names[pairs[i] % count], int(times[i]), int(posed[i])]
            for i in order
        ]
