"""The modes that a run was trained on are read from its configuration as gin would bind them."""

import numpy as np
import pytest

import gin
from data_pipelines.class_split import ClassSplit
from kfsl import configurables
from kfsl.command_line.gin_files import GinFileError
from kfsl.evidence.trained_modes import modes_of

SCOPED = "Experiment.sampler = @train/second/mixture_episode\n"
GLYPHS = ("glyphs", "glyphs:inverted:coloured", "glyphs:textured")
ONE, TWO = "('photos',)", "('photos', 'drawings')"


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ("", None),
        ("mixture_episode.modes = None", None),
        (f"mixture_episode.modes = {TWO}", ("photos", "drawings")),
        ("mixture_episode.modes = ['photos']", ("photos",)),
        (f"samplers.mixture_episode.modes = {ONE}", ("photos",)),
        # Macros: of all modes, of one, of another macro.
        (f"MODES = {ONE}\nmixture_episode.modes = %MODES", ("photos",)),
        ("MODES = None\nmixture_episode.modes = %MODES", None),
        ("ONE = 'photos'\nALL = (%ONE, 'x')\nmixture_episode.modes = %ALL", ("photos", "x")),
        (f"own/MODES = {ONE}\nmixture_episode.modes = %own/MODES", ("photos",)),
        # The narrowest of the sampler's scopes decides, and those of others are not asked.
        (f"{SCOPED}train/second/mixture_episode.modes = {ONE}", ("photos",)),
        (f"{SCOPED}train/mixture_episode.modes = {ONE}", ("photos",)),
        (f"{SCOPED}mixture_episode.modes = {ONE}", ("photos",)),
        (f"{SCOPED}second/mixture_episode.modes = {ONE}", None),
        (f"{SCOPED}evaluation/mixture_episode.modes = {ONE}", None),
        (f"evaluation/mixture_episode.modes = {ONE}", None),
        (
            f"{SCOPED}mixture_episode.modes = {TWO}\ntrain/mixture_episode.modes = {ONE}",
            ("photos",),
        ),
        (f"{SCOPED}mixture_episode.modes = {ONE}\ntrain/mixture_episode.modes = None", None),
        (
            "OWN = @train/mixture_episode\nExperiment.sampler = %OWN\n"
            f"train/mixture_episode.modes = {ONE}",
            ("photos",),
        ),
    ],
)
def test_modes_are_those_that_the_sampler_gets(config, modes):
    assert modes_of(config) == modes


@pytest.mark.parametrize(
    "changes",
    [
        ["mixture_episode.modes = None"],
        ["MODES = ('glyphs',)", "mixture_episode.modes = %MODES"],
        [
            "Experiment.sampler = @train/mixture_episode",
            "mixture_episode.modes = ('glyphs',)",
            "train/mixture_episode.modes = ('glyphs:textured', 'glyphs')",
        ],
    ],
    ids=["none", "macro", "scope"],
)
def test_gin_binds_the_same(changes):
    alone = ["Experiment.learner = None", "Experiment.dataset = None"]
    config = configurables.parse(["gin/kml.gin"], [*changes, *alone])
    sampler = gin.get_bindings("Experiment")["sampler"]
    split = ClassSplit(
        name="train", class_names=tuple(map(str, range(15))), counts=np.full(15, 20),
        offsets=np.arange(15) * 20, superclasses=np.zeros(15, "int32"), superclass_names=("all",),
        modes=np.repeat(np.arange(3, dtype="int32"), 5), mode_names=GLYPHS,
        mode_rotations=(1, 1, 1),
    )  # fmt: skip
    drawn = {GLYPHS[int(sampler(split, 0, index)["mode"])] for index in range(6)}
    assert drawn == set(modes_of(config) or GLYPHS)


@pytest.mark.parametrize(
    "value", ["%UNKNOWN", "(%UNKNOWN,)", "@chosen_modes()", "'photos'", "3", "(0, 1)"]
)
def test_what_names_no_modes_is_refused(value):
    with pytest.raises(ValueError, match=r"^runs/one: mixture_episode\.modes is bound to") as told:
        modes_of(f"mixture_episode.modes = {value}", "runs/one")
    assert value in str(told.value)


@pytest.mark.parametrize("macros", ["A = %A", "A = %B\nB = %A", "A = (%A,)", "A = %B\nB = (%A,)"])
def test_a_macro_that_stands_for_itself_is_refused(macros):
    with pytest.raises(ValueError, match=r"^runs/one: mixture_episode\.modes is bound to '?%A"):
        modes_of(f"{macros}\nmixture_episode.modes = %A", "runs/one")


def test_what_is_no_gin_is_refused():
    with pytest.raises(GinFileError, match=r"^runs/one, line 1: "):
        modes_of("mixture_episode.modes = = 3", "runs/one")
