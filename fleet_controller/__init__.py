"""What rolls a bundle out to a fleet."""
