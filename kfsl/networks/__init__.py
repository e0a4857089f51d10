"""A finished Keras network, taken apart or called with other weights."""

from kfsl.networks.exact_layers import check_exact, exact, inexact_layers
from kfsl.networks.insertion import output_with_insertions, segments
from kfsl.networks.replaced_weights import call_with, starting_weights

__all__ = [
    "call_with",
    "check_exact",
    "exact",
    "inexact_layers",
    "output_with_insertions",
    "segments",
    "starting_weights",
]
