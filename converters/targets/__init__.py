"""From graphs to model files, one format and precision a file."""
