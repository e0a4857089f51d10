"""Each paper's configuration: found, parsed, constructed; each graph once stepped.

Each file under `gin/papers` is parsed, its arguments are checked, and its experiment is
constructed, small. Where its graph is new, all that training needs is constructed too, so that no
binding is left over, and two updates and a test episode follow. That suffices: the others differ
from one that is stepped in data, rates and sizes alone.
"""

import functools
import os
import re

import numpy as np
import pytest

import gin
from data_pipelines import pipeline
from data_pipelines.class_store import StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.datasets import cifar100, mini_imagenet, omniglot
from kfsl import configurables
from kfsl.learners.implanting import Implanting
from kfsl.learners.stanet import STANet
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import train as training
from tests.support.gin_files import (
    MIXTURES,
    PAPERS,
    ROOT,
    START_FROM,
    bindings,
    evaluation_episode,
    relative,
    whole,
)

#: 10 shots and 30 queries.
IMAGES = 40
#: Bindings whose values no graph of a training step depends on.
NUMBERS = re.compile(
    # Which classes, how many episodes, how fast a rate falls.
    r"(count_classes\.|evaluate\.|mixture_episode\.modes|(\w+/)?\w+Decay\.|HALVED_EVERY|"
    # Constant factors.
    r"(\w+/)?(Adam|SGD)\.(learning_rate|epsilon)|PixelNormalization\.(mean|std)|BN_MOMENTUM"
    r"|Conv4\.bn_(momentum|epsilon)|\w+\.(inner_rate|(small|larg)est_rate|weight_decay)"
    r"|\w+\.(semantic_weight|gaussian_sigma|scale_penalty)|CLIP"
    # How many images and columns, and how large they are.
    r"|POINTS|CHANNELS|ORDERED|Regression\.width|encoder/MLP\.image_shape|POINT_SHAPE"
    r"|SHOTS|QUERIES|TRAINING_WAYS|IMAGE_SHAPE|(\w+/)?\w+_episode\.queries"
    r"|Reptile\.evaluation_batch|ModGrad\.columns)"
)
#: Those that are used in any case: they say nothing of the configuration around them.
USED = re.compile(r"load_dataset\.|train\.(?!\w*optimizer)")
#: What makes networks and inner loops small, where a file binds it.
SMALL = {
    "FILTERS": "(4, 4, 4, 4)",
    "STEPS": "1",
    "EVALUATION_STEPS": "1",
    "train.meta_batch": "1",
    "base_batch.batch_size": "4",
    "load_dataset.held_out_images": "4",
    "Implanting.channels": "2",
    "Implanting.updates": "1",
    "DEPTH": "10",
    "WIDTH": "1",
    "POINTS": "5",
    "MAML.steps": "1",
    "CAVIA.steps": "1",
}
#: The same for backbones whose width no macro gives.
NARROW = {
    "Conv4": "4",
    "PreActivationResNet12": "(4, 4, 8, 8)",
    "ResNet12": "(4, 4, 8, 8)",
}


@pytest.fixture(scope="session")
def paper_stores(tmp_path_factory):
    """Noise in the layout of the papers' datasets: all their classes, few images of each."""
    folder = tmp_path_factory.mktemp("paper_stores")
    rng = np.random.default_rng(0)

    def write(name, classes, image_shape, rotations=1, images=24):
        noise = rng.integers(0, 256, (images, *image_shape), dtype="uint8")
        write_class_store(
            str(folder / name),
            [StoredClass(*entry, images) for entry in classes],
            ((index, image) for index in range(len(classes)) for image in noise),
            image_shape,
            {"name": name, "rotations": rotations},
        )

    write("cifar100", sorted(cifar100.superclasses().items()), (32, 32, 3), images=IMAGES)
    wnids = [wnid for wnids in mini_imagenet.split_lists().values() for wnid in wnids]
    write("mini_imagenet", [(wnid, "all") for wnid in wnids], (84, 84, 3), images=IMAGES)
    characters = [
        (f"{name}/rot{90 * turns}", name.split("/")[0])
        for name in omniglot.characters()
        for turns in range(4)
    ]
    write("omniglot", characters, (28, 28, 1), rotations=4)
    write("celeb_a", [(part, "all") for part in ("train", "val", "test")], (32, 32, 3))
    for name, modes in MIXTURES.items():
        write_mixture(folder / name, name, modes)
    return folder


def write_mixture(path, name, modes):
    """Noise in the layout of a mixture: eight classes of each mode in each split."""
    turns = {mode: ("",) for mode in modes}
    # Characters are classes of their own at each of four rotations.
    turns |= {
        mode: tuple(f"/rot{angle}" for angle in (0, 90, 180, 270))
        for mode in modes
        if "omniglot" in mode
    }
    splits = {
        split: [
            f"{mode}/{split}{i}{turn}" for mode in modes for i in range(8) for turn in turns[mode]
        ]
        for split in ("train", "val", "test")
    }
    classes = [
        each for mode in modes for names in splits.values() for each in names if mode in each
    ]
    noise = np.random.default_rng(0).integers(0, 256, (20, 84, 84, 3), dtype="uint8")
    write_class_store(
        str(path),
        [StoredClass(each, "all", 20) for each in classes],
        ((index, image) for index in range(len(classes)) for image in noise),
        (84, 84, 3),
        {
            "name": name, "dataset": "mixture", "splits": splits, "modes": list(modes),
            "mode_rotations": [len(turns[mode]) for mode in modes],
            "class_modes": [modes.index(each.split("/")[0]) for each in classes],
        },
    )  # fmt: skip


def check_bindings(experiment, run):
    """Constructs all that training needs, and checks that no binding is left over."""
    assert not configurables.bound(training.train)(experiment, run).done
    configurables.check_used("train")
    assert not run.exists


def small_experiment(path):
    """The experiment of a file, small, and its configuration."""
    config = configurables.parse([relative(path)])
    config = configurables.parse([relative(path)], small(config))
    return configurables.experiment(), config


def leave_untrained_run(config):
    """The run that a configuration begins with, as another file of the papers describes it."""
    found = re.search(START_FROM, config, re.MULTILINE)
    if not found:
        return
    (path,) = (path for path in PAPERS if path.stem == found[1])
    experiment, config = small_experiment(path)
    run = RunDirectory(f"runs/{path.stem}")
    run.start(config)
    os.mkdir(os.path.dirname(run.best_learner))
    experiment.learner.save(run.best_learner)


@functools.cache
def graph(path):
    """What of a file's small configuration decides which graph it makes.

    Of two files that are equal here, one has other data, rates or sizes than the other, and no
    other operation; and since the same names are bound, a binding that is used in one is in both.
    """
    text = configurables.parse([relative(path)], small(whole(path)))
    lines = [line for line in bindings(text) if not USED.match(line)]
    return frozenset(line.split(" = ")[0] if NUMBERS.match(line) else line for line in lines)


@pytest.mark.parametrize("path", PAPERS, ids=relative)
def test_paper_gin_file(path, paper_stores, tmp_path, monkeypatch):
    monkeypatch.setenv("KFSL_STORE_DIR", str(paper_stores))
    monkeypatch.chdir(tmp_path)
    is_new = next(other for other in PAPERS if graph(other) == graph(path)) == path
    if is_new:
        leave_untrained_run(whole(path))
    experiment, _ = small_experiment(path)
    if not is_new:
        return
    check_bindings(experiment, RunDirectory(str(tmp_path / "run")))
    learner = experiment.learner
    if isinstance(learner, STANet):
        assert trainable(learner) == trainable(learner.backbone) + stanet_head(learner)
    step(experiment)


@pytest.mark.parametrize("method", ["maml", "multimodal_maml"])
def test_what_is_compared_with_mmaml_has_its_network(method):
    path = ROOT / f"gin/papers/kml/two_mode_{method}_5way_1shot.gin"
    configurables.parse_text(whole(path), ["Experiment.dataset = None"])
    assert trainable(gin.get_bindings("Experiment")["learner"].network) == 389_701


def step(experiment):
    """Two updates and one test episode."""
    learner = experiment.learner
    meta_batches = pipeline.episodes(
        experiment.dataset, "train", experiment.sampler, label_level=experiment.label_level
    )
    # Biases before normalisation have no gradient: ModGrad's cells have nothing to modulate
    # there, and Meta-SGD's rates nothing to multiply. The first kernels of the cells, which the
    # small initial context alone reaches, have a gradient below Adam's epsilon.
    still = r"_conv_bias|phi\d_hidden/kernel"
    if not learner.objective.has_classes:
        # Of one step from small factors the first layers' gradients are below it, too.
        still += r"|phi\d"
    # Of one location attention has no choice, whatever its kernels are.
    if isinstance(learner, STANet) and learner.backbone.output_shape[1:3] == (1, 1):
        still += "|/spatial/"
    weights = [weight for weight in learner.trainable_weights if not re.search(still, weight.path)]
    before = [weight.numpy() for weight in weights]
    for data in meta_batches.take(2 if weights else 0):
        logs = learner.train_step(data)
        assert np.isfinite(logs["loss"])
    assert weights or isinstance(learner, Implanting)
    after = [weight.numpy() for weight in weights]
    assert all(np.any(b != a) for b, a in zip(before, after, strict=True))
    dataset, sampler = experiment.dataset, experiment.evaluation_sampler
    episode, targets = pipeline.episode_at(dataset, "test", sampler, seed=0, index=0)
    if not learner.objective.has_classes:
        assert learner(episode)["predictions"].shape == targets.shape
        return
    ways = evaluation_episode("ways")
    assert episode["query_images"].shape[1] == evaluation_episode("queries") * ways
    episode["query_images"] = episode["query_images"][:, :2]
    assert learner(episode)["logits"].shape == (1, 2, ways)


def small(config):
    """Bindings that make an experiment small."""
    # Where a macro gives the value, it is the macro that is bound.
    macros = [f"{k} = {v}" for k, v in SMALL.items() if re.search(rf"\n{k} = (?!%)", config)]
    # Two inner steps differ from one; more are as two.
    if re.search(r"^ModGrad.steps = [2-9]$", config, re.MULTILINE):
        macros.append("ModGrad.steps = 2")
    if "\nFILTERS = " in config:
        return macros
    return macros + [f"{k}.filters = {v}" for k, v in NARROW.items() if f"@{k}()" in config]


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def stanet_head(learner):
    """Matrices of equations 3, 6, 8 and of the task attention, and the semantic branch."""
    channels, ways, size = learner.backbone.output_shape[-1], learner.ways, 64
    query_sizes = [channels] + [2 * channels] * (learner.num_layers - 1)
    layers = sum(
        (size * (query + channels) if learner.spatial_attention == "learned" else 0)
        + 2 * size * channels
        + size * (channels + ways)
        for query in query_sizes
    )
    semantic = learner.semantic_classes * (channels + 1) if learner.semantic_classes else 0
    return layers + ways * size * learner.num_layers + semantic
