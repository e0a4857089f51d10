"""A served model, asked about folders of images."""
