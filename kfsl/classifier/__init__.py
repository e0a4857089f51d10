"""A classifier from a handful of images, for Python."""

from kfsl.classifier.few_shot_classifier import FewShotClassifier

__all__ = ["FewShotClassifier"]
