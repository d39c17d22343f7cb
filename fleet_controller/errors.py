"""What can go wrong on the fleet's side, as branches of the one error tree."""

from __future__ import annotations

from edge_agent.errors import EdgeError


class RepositoryError(EdgeError):
    """A model repository that is absent, damaged, locked, or cannot be signed with the keys at hand."""


class PublishRefused(EdgeError):
    """A bundle that may not be published, such as other bytes under a version that is out already."""


class UsageError(EdgeError):
    """Words on the command line that cannot be understood; ends with exit status 2."""


class SelectorError(UsageError):
    """A selector that does not parse."""


class NobodyMatches(EdgeError):
    """A selector that parses and names no known device."""
