"""Keras few-shot learning: classifiers from a handful of labelled images per class."""

import os

# Keras reads its backend when it is first imported, so it is chosen here.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow reads this when it is first imported. Left alone it keeps oneDNN's convolutions for
# processors with AVX-512; without them a step on an older one takes 1.2 to 1.6 times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
