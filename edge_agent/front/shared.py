"""What all connections of a listener have in common: the way in, the token, the heads seen before, the place where bytes arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.front.body_room import BodyRoom
from edge_agent.front.http_head import Head, HttpError, parse_head
from edge_agent.front.loop import Loop

if TYPE_CHECKING:
    from edge_agent.front.connection import Connection

SCRATCH_BYTES = 64 << 10
MOST_HEADS = 512
LONGEST_KEPT_HEAD_BYTES = 2048

Handle = Callable[["Connection", bytes], None]
"""Who answers a request: gets the connection and the body."""


@dataclass(slots=True)
class Shared:
    """``route`` finds who answers a head; ``token`` is what a client must say, empty when nothing; ``scratch`` is where bytes arrive."""

    loop: Loop
    route: Callable[[Head], Handle]
    token: bytes
    allowed: Callable[[bytes], bool]
    max_body_bytes: int
    room: BodyRoom
    on_close: Callable[[Connection], None]
    on_bug: Callable[[BaseException], None]
    heads: dict[bytes, tuple[Head, Handle]] = field(default_factory=dict)
    scratch: bytearray = field(default_factory=lambda: bytearray(SCRATCH_BYTES))

    def known(self, raw: bytes) -> tuple[Head, Handle]:
        """The head in ``raw`` and who answers it; clients repeat their heads, so it is kept. Raises HttpError."""
        known = self.heads.get(raw)
        if known is None:
            head = parse_head(raw)
            known = (head, self.route(head))
            if len(raw) <= LONGEST_KEPT_HEAD_BYTES and head.length <= self.max_body_bytes:
                if len(self.heads) >= MOST_HEADS:
                    self.heads.clear()
                self.heads[raw] = known
        return known

    def check(self, head: Head) -> None:
        """Raises HttpError for a body that is too large, and for a client without the token. Both before the body is read."""
        if head.length > self.max_body_bytes:
            raise HttpError(413, f"the body has {head.length} bytes, at most {self.max_body_bytes} are taken", closes=True)
        if self.token and not self.allowed(head.bearer):
            raise HttpError(401, "a token is needed: Authorization: Bearer TOKEN", closes=True, extra=b"WWW-Authenticate: Bearer\r\n")
