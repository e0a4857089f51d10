"""What packages show, gin files can bind."""

import pytest

from kfsl import configurables
from kfsl.configurables import registry
from kfsl.configurables.kinds import KINDS


@pytest.mark.parametrize("face", registry.FACES, ids=lambda face: face.__name__)
def test_each_public_name_of_a_face_can_be_bound(face):
    assert face.__all__
    for name in face.__all__:
        assert registry.configurable_by_name()[name] is getattr(face, name)
        assert configurables.bound(getattr(face, name)).__name__ == name


def test_each_command_of_each_kind_can_be_bound():
    functions = [function for kind in KINDS.values() for function in kind.commands.values()]
    assert len(set(functions)) == len(functions) == 4
    for function in functions:
        assert registry.configurable_by_name()[function.__name__] is function


def test_optimizers_and_schedules_of_keras_can_be_bound():
    configurables.parse(
        [],
        [
            "Adam.learning_rate = @CosineDecay()",
            "CosineDecay.initial_learning_rate = 0.25",
            "CosineDecay.decay_steps = 10",
        ],
    )
    by_name = registry.configurable_by_name()
    optimizer = configurables.bound(by_name["Adam"])()
    assert float(optimizer.learning_rate) == 0.25


def test_a_name_of_the_users_own_stays_itself():
    class Mine:
        def __init__(self, size: int = 1) -> None:
            self.size = size

    assert configurables.register(Mine) is Mine
    configurables.parse([], ["Mine.size = 4"])
    assert configurables.bound(Mine)().size == 4
    assert Mine().size == 1


def test_what_was_not_registered_is_not_bound():
    with pytest.raises(KeyError):
        configurables.bound(lambda: None)
