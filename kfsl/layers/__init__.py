"""Layers the learners and backbones are built from."""
