"""Examples; each folder says what it shows."""
