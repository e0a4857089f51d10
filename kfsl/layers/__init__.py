"""Layers the learners and backbones are built from."""

from kfsl.layers.cosine import CosineSimilarity
from kfsl.layers.cross_modulation import CrossModulation
from kfsl.layers.film import FiLM
from kfsl.layers.film_generator import FiLMGenerator
from kfsl.layers.fixed_spatial_attention import FixedSpatialAttention
from kfsl.layers.gradient_modulation import GradientModulation
from kfsl.layers.group_normalization import GroupNormalization
from kfsl.layers.layer_normalization import LayerNormalization
from kfsl.layers.network_pixels import NetworkPixels
from kfsl.layers.normalization import BatchNormalization
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.random_affine import RandomAffine
from kfsl.layers.spatial_attention import SpatialAttention
from kfsl.layers.spatial_task_attention import SpatialTaskAttention
from kfsl.layers.task_attention import TaskAttention

__all__ = [
    "BatchNormalization",
    "CosineSimilarity",
    "CrossModulation",
    "FiLM",
    "FiLMGenerator",
    "FixedSpatialAttention",
    "GradientModulation",
    "GroupNormalization",
    "LayerNormalization",
    "NetworkPixels",
    "PixelNormalization",
    "RandomAffine",
    "SpatialAttention",
    "SpatialTaskAttention",
    "TaskAttention",
]
