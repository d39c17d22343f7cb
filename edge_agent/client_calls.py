"""What clients of the local API ask of the engine: carried out one after another, away from the engine's own thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edge_agent.errors import EdgeError


class ClientCalls:
    """``act(call, model)`` loads or unloads a model (``call`` says which), and raises EdgeError with what the client is to hear."""

    def __init__(self, act: Callable[[str, str], None]) -> None:
        self._act = act
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="api-calls")

    def take(self, call: str, model: str, done: Callable[[str], None]) -> None:
        """Returns at once; ``done`` takes the error later, empty when there is none."""
        self._thread.submit(self._carry_out, call, model, done)

    def stop(self) -> None:
        """Take no more, and forget those that have not begun."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _carry_out(self, call: str, model: str, done: Callable[[str], None]) -> None:
        try:
            self._act(call, model)
        except EdgeError as error:
            done(str(error))
        except Exception as error:  # a mistake of ours: whoever asked must hear of it
            done(f"{type(error).__name__}: {error}")
        else:
            done("")
