"""Samples that people have as tables, pictures or sounds, gathered into the one form that everything else reads (``.npz``)."""
