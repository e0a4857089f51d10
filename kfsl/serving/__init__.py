"""The SavedModel."""
