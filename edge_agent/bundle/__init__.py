"""The one file a model travels in."""
