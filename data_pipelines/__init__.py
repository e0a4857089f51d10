"""Datasets, class stores and episode pipelines for few-shot learning."""
