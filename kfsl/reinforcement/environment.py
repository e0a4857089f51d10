"""What an agent acts in: tasks drawn from a distribution, and rollouts in many of them at once."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

#: Observations `[B, R, D]` to distributions of actions `[B, R, 2 * A]`.
Policy = Callable[[Any], Any]


class Environment:
    """Tasks, and rollouts that are vectorised over tasks and their rollouts.

    Subclasses set the sizes, draw tasks and roll out. They are dataclasses, whose fields say
    what makes one differ from another.
    """

    #: Numbers of an observation and of an action, and steps of a rollout at most.
    observation_size: int
    action_size: int
    horizon: int
    #: Whether `roll_out` is graph code, to be compiled with the policy by XLA.
    in_graph: bool = False
    #: Fields that change how fast it is and nothing else.
    of_speed: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """As a run's metadata name it."""
        return type(self).__name__

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the class and the fields that say what tasks and rollouts are."""
        values = dataclasses.asdict(self)
        fields = json.dumps(
            {name: values[name] for name in values if name not in self.of_speed}, sort_keys=True
        )
        return hashlib.sha256(f"{self.name}:{fields}".encode()).hexdigest()

    def draw_tasks(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Draws tasks.

        Args:
            generator: `numpy.random.Generator`.
            count: int.

        Returns:
            float32 array, `[count, ...]`.
        """
        raise NotImplementedError

    def roll_out(self, policy: Policy, tasks: Any, noise: Any, seed: int) -> dict[str, Any]:
        """Acts in `B` tasks, `R` rollouts each.

        Args:
            policy: function from observations `[B, R, D]` to distributions `[B, R, 2 * A]`.
            tasks: float32, `[B, ...]`.
            noise: float32, `[T, B, R, A]`, standard normal: an action is the mean plus the
                deviation times its noise.
            seed: int. Of whatever else is random, such as where rollouts begin.

        Returns:
            dict of `observations` `[T, B, R, D]`, `actions` `[T, B, R, A]`, `rewards`
            `[T, B, R]`, `mask`, bool `[T, B, R]`, and `outputs` `[T, B, R, 2 * A]`.
        """
        raise NotImplementedError


def task_generator(seed: int, stream: str, number: int) -> np.random.Generator:
    """The generator of draw `number` of a stream: a pure function of the three.

    Args:
        seed: int.
        stream: str. Such as `"train"`.
        number: int, from 0.

    Returns:
        `numpy.random.Generator`.
    """
    digest = _digest(seed, stream, number)
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def noise_seed(seed: int, stream: str, number: int) -> tuple[int, int]:
    """The seed of acting number `number` of a stream; streams share no noise.

    Args:
        seed: int.
        stream: str. Such as `"train"`.
        number: int, from 0.

    Returns:
        pair of int, as TensorFlow's stateless operations take it.
    """
    digest = _digest(seed, f"noise of {stream}", number)
    return tuple(int.from_bytes(digest[i : i + 4], "little") % 2**31 for i in (0, 4))


def _digest(seed: int, stream: str, number: int) -> bytes:
    return hashlib.sha256(f"{stream}:{seed}:{number}".encode()).digest()
