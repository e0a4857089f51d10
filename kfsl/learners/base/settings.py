"""What makes two learners with the same weights answer alike."""

import hashlib
import json
from typing import Any

import keras

from kfsl.learners.base.learner import Learner

#: What a configuration has besides arguments.
UNSETTLED = ("name", "build_config", "compile_config")
IDENTITY = {"module": "keras.layers", "class_name": "Identity", "registered_name": None}


def settings_fingerprint(learner: Learner) -> str:
    """SHA-256 (hex) of a learner's arguments, its backbone's among them.

    Names do not count, which Keras numbers where it is given none, and neither does what a
    learner was called with or compiled for.

    Args:
        learner: `Learner`.

    Returns:
        str.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.maml import MAML
    from kfsl.learners.base.settings import settings_fingerprint

    def learner(**arguments):
        return MAML(Conv4(image_shape=(8, 8, 1), filters=4, num_pools=2), ways=2, **arguments)

    assert settings_fingerprint(learner(steps=3)) == settings_fingerprint(learner(steps=3))
    assert settings_fingerprint(learner(steps=3)) != settings_fingerprint(learner(steps=4))
    ```
    """
    config = _settled(keras.saving.serialize_keras_object(learner))
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("registered_name") == "kfsl>RawPixels":
            # It gives what stood in its place, and calibrations of that hold.
            value = {**value, **IDENTITY}
        return {key: _settled(each) for key, each in value.items() if key not in UNSETTLED}
    if isinstance(value, list | tuple):
        return [_settled(each) for each in value]
    return value
