"""Model runtimes behind one port, one kind a file."""
