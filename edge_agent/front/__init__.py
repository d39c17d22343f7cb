"""The local HTTP API: one process that takes requests and asks the workers."""
