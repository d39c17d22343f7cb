"""The commands this device has seen, in a file that survives power loss: one line of JSON for each, oldest first.

A line is the :class:`~edge_agent.protocol.messages.ResultMessage` last known, with a key ``acked`` more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from edge_agent.errors import CommandError, StoreError
from edge_agent.protocol.codec import decode, encode, load_object
from edge_agent.protocol.messages import ResultMessage
from edge_agent.update.durable import replace_durable, store_error, write_durable


class FileCommandLog:
    """Implements :class:`edge_agent.commands.CommandLog` over one file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoded: dict[str, tuple[ResultMessage, bytes]] = {}

    def load(self) -> tuple[list[ResultMessage], set[str]]:
        """Results, oldest first, and the ids among them that the fleet has acknowledged.

        Lines that cannot be read are left out, and the file is kept aside as ``*.damaged``: a device that cannot remember old commands must
        still take new ones. So must one whose disk does not give the file at all: that is moved aside.
        """
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return [], set()
        except OSError as error:
            self._give_up(error)
            return [], set()
        results, acked, bad = [], set(), 0
        for line in lines:
            try:
                result = decode(ResultMessage, line)
                results.append(result)
                if load_object(line).get("acked") is True:
                    acked.add(result.id)
            except CommandError:
                bad += 1
        if bad:
            self._set_aside(bad)
        return results, acked

    def save(self, results: Sequence[ResultMessage], acked: Collection[str]) -> None:
        """Durable when it returns. Raises StoreError or StoreFull; then what was saved before still stands."""
        self._encoded = {one.id: self._encode(one) for one in results}
        lines = [line + (b',"acked":true}\n' if name in acked else b',"acked":false}\n') for name, (_, line) in self._encoded.items()]
        write_durable(self._path, b"".join(lines), mode=0o640)

    def _encode(self, result: ResultMessage) -> tuple[ResultMessage, bytes]:
        """The line without its end; all but one of them are the same as at the last call."""
        before = self._encoded.get(result.id)
        return before if before is not None and before[0] is result else (result, encode(result)[:-1])

    def _give_up(self, error: OSError) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        logging.getLogger(__name__).error("%s; old commands are forgotten", store_error(error, self._path, "read"))
        try:
            replace_durable(self._path, aside)
        except StoreError:
            pass  # then the next save says so to whoever sends a command

    def _set_aside(self, bad: int) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        logging.getLogger(__name__).error("%s: %d lines cannot be read; a copy is kept as %s", self._path, bad, aside)
        try:
            write_durable(aside, self._path.read_bytes(), mode=0o640)
        except (OSError, StoreError):
            pass  # the copy is for curious people only
