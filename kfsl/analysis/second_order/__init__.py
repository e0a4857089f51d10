"""Which layers TensorFlow differentiates twice correctly."""
