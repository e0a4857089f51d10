"""Analyses of learners that are trained on tasks of several kinds."""
