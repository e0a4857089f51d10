"""Files at the top level are run whole, as a user runs them."""

import json
import os
import re

import pytest

import gin
from kfsl import configurables
from kfsl.evidence.trained_modes import modes_of
from tests.support import forked
from tests.support.gin_files import REGRESSION, ROOT, START_FROM, TOP_LEVEL, TRAINED_ALONE, relative

#: Inner steps of the files at the top level: more than one, and more are as two.
STEPS = ("MAML.steps", "MAML.evaluation_steps", "CAVIA.steps", "MetaSGD.steps", "Reptile.steps")


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


def test_one_mode_is_trained_and_all_are_tested():
    """As the experts of a mixture are made."""
    config = configurables.parse(["gin/kml.gin"], ["mixture_episode.modes = ('glyphs',)"])
    assert gin.get_bindings("mixture_episode")["modes"] == ("glyphs",)
    assert modes_of(config) == ("glyphs",)
    with gin.config_scope("evaluation"):
        assert gin.get_bindings("mixture_episode")["modes"] is None
