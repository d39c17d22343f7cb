"""What the converter is judged by, beside its peers."""
