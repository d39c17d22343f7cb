"""Figures, each by the command that prints it. Timings are of the machine they were taken on."""
