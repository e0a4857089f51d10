"""A name says what a file configures, and no two files configure the same."""

import re

import pytest

import gin
from kfsl import configurables
from tests.support.gin_files import (
    COMPLETION,
    MIXTURES,
    PAPERS,
    REGRESSION,
    ROOT,
    TOP_LEVEL,
    evaluation_episode,
    relative,
    whole,
)

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


def test_the_lists_of_gin_files_are_not_empty():
    assert {path.stem for path in TOP_LEVEL} >= {"stanet", "prototypical_network"}
    assert len(PAPERS) > 30
    assert len(COMPLETIONS) == 32
    assert len(EXPERTS) == 4
    assert len(REGRESSION) == 5


def test_no_two_files_are_the_same_configuration():
    paths = {}
    for path in (*PAPERS, *TOP_LEVEL, *REGRESSION):
        paths.setdefault(whole(path), []).append(relative(path))
    assert [same for same in paths.values() if len(same) > 1] == []


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


EXPERTS = [path for path in PAPERS if "mixture_episode.modes = (" in path.read_text()]


@pytest.mark.parametrize("path", EXPERTS, ids=relative)
def test_an_expert_is_of_a_mode_that_the_mixture_has(path):
    configurables.parse([relative(path)])
    (mode,) = gin.query_parameter("mixture_episode.modes")
    assert mode in MIXTURES[gin.query_parameter("load_dataset.name")]
    assert path.stem.endswith(f"_{mode.partition(':')[0]}")


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
