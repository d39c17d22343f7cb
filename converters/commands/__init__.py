"""The words of ``edge-convert``: one command a file, each with its options and what it does. Nothing heavy is imported for ``--help``."""
