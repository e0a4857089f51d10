"""Keras few-shot learning: classifiers from a handful of labelled images per class."""

import os

# Keras reads its backend when it is first imported, so it is chosen here.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__version__ = "0.1.0"
