"""What the papers show in figures."""
