"""Acts with this exported policy, and adapts it. Needs TensorFlow and NumPy alone.

    python example.py

The task here is made up: an action earns more the nearer it is to a hidden one. Put your own
environment in the place of `acted`.
"""

import json
import pathlib

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).resolve().parent
STEPS, UPDATES = 200, 3


def acted(act, state, sizes, hidden, rng):
    """Observations, actions and rewards of some steps with the policy of a state."""
    observations = rng.normal(size=(STEPS, sizes["observation"])).astype("float32")
    found = act(**state, observations=tf.constant(observations))
    noise = rng.normal(size=(STEPS, sizes["action"]))
    actions = found["means"].numpy() + found["deviations"].numpy() * noise
    rewards = -np.sum((actions - hidden) ** 2, axis=-1)
    return observations, actions.astype("float32"), rewards


def main():
    description = json.loads((FOLDER / "model.json").read_text(encoding="utf-8-sig"))
    sizes = description["policy"]
    model = tf.saved_model.load(str(FOLDER))
    start, adapt, act = (model.signatures[name] for name in ("start", "adapt", "act"))
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=sizes["action"])
    state = start()
    for update in range(UPDATES + 1):
        observations, actions, rewards = acted(act, state, sizes, hidden, rng)
        print(f"after {update} updates: mean reward {rewards.mean():.3f}")
        # How much better each action was than the others, in their deviations.
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-8)
        state = adapt(
            **state,
            observations=tf.constant(observations),
            actions=tf.constant(actions),
            advantages=tf.constant(advantages.astype("float32")),
        )


if __name__ == "__main__":
    main()
