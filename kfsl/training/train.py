"""The training call: what gin binds as `train`."""

from collections.abc import Mapping, Sequence

import keras

from kfsl.experiment import Experiment
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.train_arguments import FigureFunction, TrainArguments
from kfsl.training.training_session import TrainingSession


def train(
    experiment: Experiment,
    run: RunDirectory,
    *,
    optimizer: keras.optimizers.Optimizer | None = None,
    part_optimizers: Mapping[str, keras.optimizers.Optimizer] | None = None,
    epochs: int = 100,
    steps_per_epoch: int = 100,
    meta_batch: int = 1,
    validation_episodes: int = 200,
    validation_meta_batch: int = 4,
    validation_every: int = 1,
    patience: int | None = None,
    seed: int = 0,
    start_from: str | None = None,
    keep_epochs: Sequence[int] = (),
    jit_compile: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    figures: Sequence[FigureFunction] = (),
    figures_every: int = 5,
    histograms_every: int = 0,
    profile_steps: tuple[int, int] | None = None,
) -> TrainingSession:
    """Constructs the training of a learner on episodes; `fit` of what it returns trains.

    Everything is made here, compiled, and restored where an interrupted run stopped, and
    nothing is written: what cannot work shows before a run begins. Episode number `i` of
    training is the same whenever it is drawn, and every variable is in the checkpoint, so a run
    that was killed ends with the bits of one that was not.

    Args:
        experiment: `Experiment`.
        run: `RunDirectory`.
        optimizer: Keras optimiser; `Adam(1e-3)` when None.
        part_optimizers: dict or None. Optimisers of their own for the learner's `weight_parts`.
        epochs: int. Each ends with validation and a checkpoint. 0, with `start_from` or for a
            learner whose network is frozen: nothing is trained, and the run is the weights that
            it begins with, in this learner, validated once. A run that ended after fewer goes on,
            to the bits of one that had this many from the beginning.
        steps_per_epoch: int. Updates per epoch.
        meta_batch: int. Episodes per update.
        validation_episodes: int. Fixed episodes of the split `val`, at least 2, or 0 for none;
            none when it is empty.
        validation_meta_batch: int. Most episodes evaluated at once; what divides
            `validation_episodes` is taken, so that all of them are.
        validation_every: int. Epochs between two validations.
        patience: int or None. Validations without improvement after which training stops.
        seed: int. Which episodes training draws.
        start_from: str or None. A run directory, or a `.keras` file, whose weights the learner
            begins with wherever it has the same ones; see `copy_initial_weights`.
        keep_epochs: sequence of int. Epochs, from 1, after which the learner is kept besides the
            best one, for analyses that look back.
        jit_compile: bool. XLA; slower on CPU as a rule, and not deterministic: bind
            `set_up.deterministic = False` with it.
        callbacks: Keras callbacks of your own; they come before those that save. What they
            remember is in no checkpoint: one that waits, such as `ReduceLROnPlateau`, begins anew
            where a run goes on.
        figures: functions `(learner, episode, query_labels, class_names) -> Figure`, shown in
            TensorBoard for the first validation episode.
        figures_every: int. Epochs between two of them.
        histograms_every: int. Epochs between weight histograms in TensorBoard; 0 for none.
        profile_steps: pair of int or None. First and last step to profile.

    Returns:
        `TrainingSession`.

    Raises:
        ValueError: if an argument is of a wrong type or out of range, the split has too few
            classes or images for the episodes, the run was begun on other data or is being
            trained by another process, or `start_from` does not fit.

    Example:
    ```python
    import functools
    import tempfile
    import numpy as np
    from data_pipelines.class_store import ClassStore, StoredClass
    from data_pipelines.class_store_writer import write_class_store
    from data_pipelines.dataset import FewShotDataset
    from data_pipelines.samplers import fixed_episode
    from kfsl.backbones.conv4 import Conv4
    from kfsl.experiment import Experiment
    from kfsl.learners.prototypical_network import PrototypicalNetwork
    from kfsl.runs.run_directory import RunDirectory
    from kfsl.training.train import train

    with tempfile.TemporaryDirectory() as folder:
        classes = [StoredClass(name, "letters", 4) for name in "abc"]
        images = [(c, np.full((8, 8, 1), 80 * c, "uint8")) for c in range(3) for _ in range(4)]
        write_class_store(f"{folder}/letters", classes, images, image_shape=(8, 8, 1))
        store = ClassStore.open(f"{folder}/letters")
        experiment = Experiment(
            learner=PrototypicalNetwork(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2)),
            dataset=FewShotDataset("letters", store, {"train": [0, 1, 2]}),
            sampler=functools.partial(fixed_episode, ways=2, shots=1, queries=3),
        )
        session = train(experiment, RunDirectory(f"{folder}/run"), epochs=1, steps_per_epoch=2)
        assert not session.done
        logs = session.fit()
        assert session.done and logs["loss"] > 0
    ```
    """
    arguments = TrainArguments(
        optimizer=optimizer,
        part_optimizers=part_optimizers,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        meta_batch=meta_batch,
        validation_episodes=validation_episodes,
        validation_meta_batch=validation_meta_batch,
        validation_every=validation_every,
        patience=patience,
        seed=seed,
        start_from=start_from,
        keep_epochs=keep_epochs,
        jit_compile=jit_compile,
        callbacks=callbacks,
        figures=figures,
        figures_every=figures_every,
        histograms_every=histograms_every,
        profile_steps=profile_steps,
    )
    return TrainingSession(experiment, run, arguments)
