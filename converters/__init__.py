"""What makes a bundle: load, quantize, prove, gate, pack."""
