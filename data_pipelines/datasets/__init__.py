"""The datasets that kfsl can read, one a file."""
