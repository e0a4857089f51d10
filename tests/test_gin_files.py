"""Every configuration that is shipped: found, parsed, constructed; each graph once stepped.

Each file under `gin/papers` is parsed, its arguments are checked, and its experiment is
constructed, small. Where its graph is new, all that training needs is constructed too, so that no
binding is left over, and two updates and a test episode follow. That suffices: the others differ
from one that is stepped in data, rates and sizes alone. Files at the top level are run whole, as a
user runs them.
"""

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

import gin
from data_pipelines import pipeline
from data_pipelines.class_store import StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.datasets import cifar100, mini_imagenet, omniglot
from kfsl import configurables
from kfsl.command_line import gin_files
from kfsl.evidence.paper_row import row_name
from kfsl.evidence.registry import row_of_folder
from kfsl.learners.implanting import Implanting
from kfsl.learners.stanet import STANet
from kfsl.runs.run_directory import RunDirectory
from kfsl.training import train as training
from tests.support import forked

ROOT = Path(__file__).parents[1]
TOP_LEVEL = sorted((ROOT / "gin").glob("*.gin"))
REGRESSION = sorted(p for p in (ROOT / "gin/regression").glob("*.gin") if p.name[0] != "_")
#: tests/reinforcement steps these.
POLICIES = sorted(p for p in (ROOT / "gin/rl").glob("*.gin") if p.name[0] != "_")
#: The same commands on the same images: another of them is run whole.
TRAINED_ALONE = [path for path in REGRESSION if path.stem.startswith("glyphs_")][1:]
#: Methods that complete images, in the names of their files.
COMPLETION = {
    "cnp": "ConditionalNeuralProcess", "maml": "MAML", "cavia": "CAVIA", "modgrad": "ModGrad",
}  # fmt: skip
PAPERS = sorted(p for p in (ROOT / "gin/papers").rglob("*.gin") if p.name[0] != "_")
#: 10 shots and 30 queries.
IMAGES = 40
START_FROM = r"^train.start_from = 'runs/(\w+)'"
#: What the multimodal papers' mixtures are made of.
MIXTURES = {
    "two_mode": ("mini_imagenet", "omniglot"),
    "two_mode_fc100": ("mini_imagenet", "fc100"),
    "three_mode": ("mini_imagenet", "omniglot", "fc100"),
    "five_mode": ("mini_imagenet", "omniglot", "fc100", "aircraft", "cub"),
}
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
#: Inner steps of the files at the top level: more than one, and more are as two.
STEPS = ("MAML.steps", "MAML.evaluation_steps", "CAVIA.steps", "MetaSGD.steps", "Reptile.steps")
#: The same for backbones whose width no macro gives.
NARROW = {
    "Conv4": "4",
    "PreActivationResNet12": "(4, 4, 8, 8)",
    "ResNet12": "(4, 4, 8, 8)",
}


def relative(path):
    return str(path.relative_to(ROOT))


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
    splits = {
        split: [f"{mode}/{split}{i}" for mode in modes for i in range(8)]
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
            "mode_rotations": [1] * len(modes),
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
def whole(path):
    """A file's configuration."""
    return configurables.parse([relative(path)])


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


def evaluation_episode(name):
    """A size of the episodes that validation and test draw."""
    with gin.config_scope("evaluation"):
        samplers = ("fixed_episode", "alphabet_episode", "mixture_episode")
        bindings = next(found for each in samplers if (found := gin.get_bindings(each)))
    return bindings[name]


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


def tiny_training(path):
    """The command that trains a file at a tiny scale."""
    text, tiny = path.read_text(), ["train.validation_episodes = 4"]
    if not re.search(START_FROM, text, re.MULTILINE):
        tiny += ["train.epochs = 1", "train.steps_per_epoch = 2"]
    if "EVALUATION_STEPS = " in text:
        tiny.append("EVALUATION_STEPS = 3")
    if "train.epochs = 0" in text:
        tiny = [binding for binding in tiny if "epoch" not in binding]
    if "@pretrained()" in text:
        tiny += ["pretrained.image_size = 32", "SimpleShot.center_images = 20"]
    tiny += [f"{name} = 2" for name in STEPS if f"@{name.split('.')[0]}()" in text]
    return ["kfsl.train", f"--gin_file={relative(path)}", *(f"--gin_param={b}" for b in tiny)]


@pytest.mark.long
@pytest.mark.parametrize("path", [*TOP_LEVEL, *REGRESSION], ids=relative)
def test_top_level_gin_file_as_a_user_runs_it(path, glyphs_store, tmp_path):
    run_dir = tmp_path / "run"
    environment = {**os.environ, "KFSL_STORE_DIR": str(glyphs_store), "PYTHONPATH": str(ROOT)}

    commands = [tiny_training(path), ["kfsl.evaluate", "--episodes=8"], ["kfsl.export"]]
    commands = [[*command, f"--run_dir={run_dir}"] for command in commands]
    if path in TRAINED_ALONE:
        commands = commands[:1]
    begins_with = re.search(START_FROM, path.read_text(), re.MULTILINE)
    if begins_with:
        commands.insert(0, tiny_training(ROOT / f"gin/{begins_with[1]}.gin"))
    printed = ""
    for command in commands:
        result = forked.python(["-m", *command], env=environment, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        printed += result.stdout
    if path in TRAINED_ALONE:
        return
    completes = path in REGRESSION
    setting = r"\d+ given, \d+ asked, 8 episodes: error" if completes else "5-way [15]-shot"
    assert re.search(f"test: {setting}", printed)
    with open(run_dir / "evaluation" / "test.json", encoding="utf-8") as file:
        assert len(json.load(file)["errors" if completes else "accuracies"]) == 8
    assert (run_dir / "saved_model" / "saved_model.pb").exists()


ROWS = sorted(path.parent for path in (ROOT / "results").glob("*/config.gin"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_reported_rows_are_of_the_configurations_that_are_shipped(row):
    found = row_of_folder(row.name)
    seed = re.search(r"_seed(\d+)$", row.name)
    own = found.bindings(int(seed[1]) if seed else found.seeds[0]) if found else []
    name = found.experts[0] if found and found.experts else row_name(row.name)
    (path,) = (path for path in (*PAPERS, *POLICIES) if path.stem == name)
    shipped = configurables.parse([relative(path)], own)
    reported = (row / "config.gin").read_text()
    assert any_run(bindings(reported)) == any_run(bindings(shipped))


def bindings(config):
    """The lines that bind; how many threads a machine gave a run is in the metadata."""
    return [line for line in config.splitlines() if not re.match(r"#|$|set_up.threads", line)]


def any_run(config):
    """The same, wherever the run lies that it begins with: that is for who trains to say."""
    return [re.sub(r"^(train.start_from = )'runs/\w+'$", r"\1'...'", line) for line in config]


def test_one_mode_is_trained_and_all_are_tested():
    """As the experts of a mixture are made."""
    config = configurables.parse(["gin/kml.gin"], ["mixture_episode.modes = ('glyphs',)"])
    assert gin.get_bindings("mixture_episode")["modes"] == ("glyphs",)
    assert gin_files.value(config, "mixture_episode", "modes") == "('glyphs',)"
    with gin.config_scope("evaluation"):
        assert gin.get_bindings("mixture_episode")["modes"] is None


def test_the_lists_of_gin_files_are_not_empty():
    assert {path.stem for path in TOP_LEVEL} >= {"stanet", "prototypical_network"}
    assert len(PAPERS) > 30
    assert len(COMPLETIONS) == 32
    assert len(REGRESSION) == 5


def test_no_two_files_are_the_same_configuration():
    paths = {}
    for path in (*PAPERS, *TOP_LEVEL, *REGRESSION):
        paths.setdefault(whole(path), []).append(relative(path))
    assert [same for same in paths.values() if len(same) > 1] == []


#: A name's dataset, method, ways, shots and what differs; of a sweep, what is swept.
NAME = re.compile(
    r"(?P<dataset>multishot_omniglot|omniglot|mini_imagenet|fc100"
    rf"|meta_cifar100_(easy|moderate|hard)|{'|'.join(sorted(MIXTURES, key=len, reverse=True))})"
    rf"_(?P<method>{'|'.join(path.stem for path in TOP_LEVEL)}|fomaml)"
    r"_(?P<ways>\d+)way_((?P<shots>\d+)shot(_\w+)?|(?P<sweep>\w+))"
)


#: A file of image completion: dataset, method, which pixels are given and how many.
COMPLETION_NAME = re.compile(
    rf"(?P<dataset>celeb_a|cifar_fs)_(?P<method>{'|'.join(COMPLETION)})"
    r"_(?P<order>random|ordered)_(?P<points>10|100)"
)
COMPLETIONS = [path for path in PAPERS if COMPLETION_NAME.fullmatch(path.stem)]


@pytest.mark.parametrize("path", COMPLETIONS, ids=relative)
def test_a_name_says_what_is_completed(path):
    name = COMPLETION_NAME.fullmatch(path.stem)
    config = configurables.parse([relative(path)])
    assert gin.query_parameter("load_dataset.name") == name["dataset"]
    assert f"\nExperiment.learner = @{COMPLETION[name['method']]}()\n" in config
    assert gin.query_parameter("%POINTS") == int(name["points"])
    assert gin.query_parameter("%ORDERED") == (name["order"] == "ordered")


@pytest.mark.parametrize("path", [p for p in PAPERS if p not in COMPLETIONS], ids=relative)
def test_a_name_says_what_the_file_configures(path):
    name = NAME.fullmatch(path.stem)
    config = configurables.parse([relative(path)])
    dataset = gin.query_parameter("load_dataset.name")
    if dataset == "meta_cifar100":
        dataset += "_" + gin.query_parameter("load_dataset.split")
    assert name["dataset"].removeprefix("multishot_") == dataset
    assert int(name["ways"]) == evaluation_episode("ways")
    (protocol,) = re.findall("multishot|mixed|dense|implanting", path.stem) or [""]
    queries = {"multishot": 5, "mixed": 1, "dense": 30, "implanting": 30, "": 15}
    assert evaluation_episode("queries") == queries[protocol]
    if name["shots"]:
        assert int(name["shots"]) == evaluation_episode("shots")
    layers = re.search(r"(\d)layers?(_|$)", path.stem)
    if layers:
        assert f"\nLAYERS = {layers[1]}\n" in config
    learner = re.search(r"^Experiment.learner = @(\w+)\(\)$", config, re.MULTILINE)[1]
    # First-order MAML is Reptile with another outer gradient.
    assert (name["method"] == "fomaml") == ("Reptile.meta_gradient = 'last'" in config)
    method = "reptile" if name["method"] == "fomaml" else name["method"]
    assert f"Experiment.learner = @{learner}()" in (ROOT / f"gin/{method}.gin").read_text()


SWEEPS = [path for path in PAPERS if path not in COMPLETIONS and NAME.fullmatch(path.stem)["sweep"]]


def test_only_sweeps_name_parameters():
    assert [path for path in PAPERS if "--gin_param" in path.read_text()] == SWEEPS


@pytest.mark.parametrize("path", SWEEPS, ids=relative)
def test_a_sweep_says_how_to_get_the_others(path):
    parameters = re.findall(r'--gin_param="(.+?)"', path.read_text())
    others = [configurables.parse([relative(path)], [parameter]) for parameter in parameters]
    texts = {whole(path), *others}
    assert len(texts) == 1 + len(parameters)
    assert not texts & {whole(other) for other in PAPERS if other != path}
