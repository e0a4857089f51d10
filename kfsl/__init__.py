"""Keras few-shot learning: classifiers from a handful of labelled images per class."""

__version__ = "0.1.0"
