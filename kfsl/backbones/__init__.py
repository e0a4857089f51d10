"""Backbones: plain Keras models from images to feature maps."""
