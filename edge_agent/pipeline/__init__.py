"""From sensor samples to predictions."""
