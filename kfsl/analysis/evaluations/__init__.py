"""Analyses of stored evaluations and logs."""
