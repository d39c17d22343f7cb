"""What runs on the device: inference, pipelines, telemetry, commands and updates."""

__version__ = "0.1.0"
