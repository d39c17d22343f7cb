"""Where predictions go, one kind a file."""
