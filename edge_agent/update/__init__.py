"""Taking a new model over the air, and taking it back."""
