"""Accuracy of a learner on fixed episodes."""
