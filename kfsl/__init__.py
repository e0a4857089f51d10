"""Keras few-shot learning: classifiers from a handful of labelled images per class."""

import importlib
import os
from typing import Any

# Keras reads its backend when it is first imported, so it is chosen here.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow reads this when it is first imported. Left alone it has oneDNN's convolutions only on
# processors with instructions made for neural networks; others gain from them too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

__all__ = ["FewShotClassifier"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: importing kfsl alone stays quick, and loads no TensorFlow.
    if name in __all__:
        return getattr(importlib.import_module("kfsl.classifier"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
