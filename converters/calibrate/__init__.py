"""What ranges the tensors of a network take on real samples."""
