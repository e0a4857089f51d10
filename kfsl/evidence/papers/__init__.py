"""The rows of each paper's tables that kfsl reproduces."""
