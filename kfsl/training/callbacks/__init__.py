"""Training callbacks that Keras lacks."""
