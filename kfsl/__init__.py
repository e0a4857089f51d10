"""Keras few-shot learning: classifiers from a handful of labelled images per class."""

import os

# Keras reads its backend when it is first imported, so it is chosen here.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow reads this when it is first imported. Left alone it has oneDNN's convolutions only on
# processors with instructions made for neural networks; others gain from them too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
