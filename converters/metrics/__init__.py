"""How good a model is, by the measure of its kind, and how much of that a candidate loses."""
