"""The local API of a running agent."""
