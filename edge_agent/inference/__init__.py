"""Model workers: started, watched, swapped."""
