"""Rows of RESULTS.md, made of committed evidence; needs no TensorFlow."""
