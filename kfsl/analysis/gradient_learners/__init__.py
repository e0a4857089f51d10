"""Analyses of gradient-based learners."""
