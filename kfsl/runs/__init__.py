"""What a run leaves behind; needs no TensorFlow."""
