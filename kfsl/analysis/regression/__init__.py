"""Analyses of learners of numbers."""
