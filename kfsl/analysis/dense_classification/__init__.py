"""Analyses of dense classification and implanting."""
