"""Bindings are read, explained where they are wrong, and known to have been used."""

import pytest

import gin
from kfsl import configurables
from kfsl.layers.random_affine import RandomAffine


@configurables.register
def steps_of_bindings(steps: int = 100, optimizer: str = "sgd", rate: float = 0.1) -> tuple:
    return steps, optimizer, rate


def called(scope=None):
    with gin.config_scope(scope):
        return configurables.bound(steps_of_bindings)()


def test_the_later_file_wins_and_bindings_win_over_files(tmp_path):
    files = [str(tmp_path / f"{name}.gin") for name in "ab"]
    for path, rate, optimizer in zip(files, (1.0, 2.0), ("'adam'", None), strict=True):
        text = f"steps_of_bindings.rate = {rate}\nsteps_of_bindings.steps = {rate}\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + (f"steps_of_bindings.optimizer = {optimizer}" if optimizer else ""))
    configurables.parse(files, ["steps_of_bindings.steps = 3"])
    assert called() == (3, "adam", 2.0)


def test_what_was_bound_before_is_forgotten():
    configurables.parse([], ["steps_of_bindings.steps = 3"])
    configurables.parse([], ["steps_of_bindings.rate = 0.5"])
    assert called() == (100, "sgd", 0.5)


def test_the_same_bindings_are_the_same_text():
    bindings = ["steps_of_bindings.rate = 0.5", "steps_of_bindings.steps = 3", "A = 1"]
    text = configurables.parse([], bindings)
    assert text == configurables.parse([], bindings[::-1])
    # It is read again as it was written.
    assert configurables.parse_text(text) == text
    assert called() == (3, "sgd", 0.5)


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ("steps_of_binding.steps = 3", r"No configurable matching .*Perhaps: steps_of_bindings"),
        ("steps_of_bindings.stps = 3", r"parameter named 'stps'.*It has steps, optimizer, rate\."),
        # A class that hands on what it does not know.
        ("MAML.rate = 3", r"MAML has no argument 'rate'; it has .*inner_rate"),
        ("steps_of_bindings.steps = %NONE", "NONE"),
        ("import no_such_module", "import of the configuration failed.*PYTHONPATH"),
    ],
)
def test_what_gin_does_not_know(binding, words):
    with pytest.raises(configurables.BindingError, match=words):
        configurables.parse_text(binding)


def test_what_any_keras_object_takes_is_let_through():
    configurables.parse([], ["RandomAffine.name = 'mine'", "RandomAffine.dtype = 'float64'"])
    layer = configurables.bound(RandomAffine)()
    assert (layer.name, layer.compute_dtype) == ("mine", "float64")


def test_what_nothing_used_is_named():
    configurables.parse([], ["steps_of_bindings.steps = 3", "inner/steps_of_bindings.rate = 0.5"])
    called()
    with pytest.raises(configurables.BindingError, match=r"binding inner/steps_of_bindings\.rate "):
        configurables.check_used("train")
    assert called("inner") == (3, "sgd", 0.5)
    configurables.check_used("train")


def test_a_macro_that_nothing_used_is_named():
    configurables.parse([], ["STEPS = 4", "steps_of_bindings.steps = %STEPS", "OTHER = 5"])
    assert called()[0] == 4
    with pytest.raises(configurables.BindingError, match="binding OTHER is not used"):
        configurables.check_used("train")


def test_bindings_of_the_other_commands_function_may_lie_unused():
    configurables.parse([], ["train.epochs = 3", "evaluate.episodes = 7"])
    with pytest.raises(configurables.BindingError, match=r"train\.epochs"):
        configurables.check_used("train")
    configurables.parse([], ["evaluate.episodes = 7"])
    configurables.check_used("train")
    with pytest.raises(configurables.BindingError, match=r"evaluate\.episodes"):
        configurables.check_used("evaluate")


def test_an_override_that_a_narrower_binding_overrules():
    config = "inner/steps_of_bindings.steps = 3\nsteps_of_bindings.rate = 0.5\n"
    wide, narrow = "steps_of_bindings.steps = 9", "inner/steps_of_bindings.steps = 8"
    configurables.parse_text(config, [wide])
    assert called("inner") == (3, "sgd", 0.5)
    with pytest.raises(configurables.BindingError, match=rf"{wide} has no effect on this test"):
        configurables.check_overrides([wide], config, "this test")
    configurables.parse_text(config, [narrow])
    assert called("inner") == (8, "sgd", 0.5)
    configurables.check_overrides([narrow], config, "this test")


def test_only_what_was_used_is_operative():
    configurables.parse([], ["steps_of_bindings.steps = 3", "train.epochs = 3"])
    assert configurables.operative().strip() == ""
    called()
    operative = configurables.operative()
    # Defaults too, of what was called.
    assert "steps_of_bindings.steps = 3" in operative
    assert "steps_of_bindings.rate = 0.1" in operative
    assert "train.epochs" not in operative
