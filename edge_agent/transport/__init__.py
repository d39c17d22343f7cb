"""MQTT, and the store that outlives it."""
