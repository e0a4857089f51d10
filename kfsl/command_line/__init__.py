"""What all commands share; needs no TensorFlow."""
