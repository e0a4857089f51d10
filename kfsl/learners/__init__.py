"""Few-shot learners, one method a file."""
