"""The parts of the soak: the house, what feeds it, what harms it, and who keeps the books."""
