"""Says what a learner finds worrying in its own training."""

import keras


class TrainingConcerns(keras.callbacks.Callback):
    """Prints the learner's `concerns` of each epoch, when they begin and when they are over."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, str] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = {line.split(" ", 1)[0]: line for line in self.model.concerns(logs or {})}
        for name, line in found.items():
            if name not in self._told:
                print(f"Mind that after epoch {epoch + 1} {line}.")
        for name in self._told:
            if name not in found:
                print(f"After epoch {epoch + 1} {name} is no longer a concern.")
        self._told = found
