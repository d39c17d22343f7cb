"""What can go wrong in a conversion. Refusals of the gate are values, see ``gate``."""

from __future__ import annotations

from edge_agent.errors import EdgeError, ModelError


class InputError(EdgeError):
    """A file or option given by the user that cannot be used; names it and says what to do."""


class UnsupportedOp(EdgeError):
    """A target format that has no answer to an operator; names the operator and the node."""


class PassError(EdgeError):
    """A pass broke the graph or did not keep its own promise; names the pass and those before it."""


class Died(ModelError):
    """The child that ran a model crashed or was ended for taking too long: nothing that a library refused with a reason."""
