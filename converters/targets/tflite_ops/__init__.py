"""Each ONNX operator in TensorFlow Lite's words, a family a file; ``table`` has them all."""
