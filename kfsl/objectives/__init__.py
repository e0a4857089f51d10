"""What a learner is asked for: classes, or numbers."""

from kfsl.objectives.classification import Classification
from kfsl.objectives.regression import Regression

__all__ = ["Classification", "Regression"]
