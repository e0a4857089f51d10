"""Analyses of Cross-Modulation Networks."""
