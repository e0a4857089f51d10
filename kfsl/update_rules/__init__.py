"""How an inner step changes weights."""

from kfsl.update_rules.adam import Adam
from kfsl.update_rules.modulated import Modulated
from kfsl.update_rules.sgd import SGD

__all__ = ["SGD", "Adam", "Modulated"]
