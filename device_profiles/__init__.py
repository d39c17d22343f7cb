"""What a board is."""
