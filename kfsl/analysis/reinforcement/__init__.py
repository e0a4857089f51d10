"""Analyses of policies that adapt."""
