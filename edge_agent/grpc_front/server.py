"""The gRPC server. The only place that knows grpcio.

Calls run on threads, each as long as it takes: with grpcio that costs a quarter less processor time for each call than its asyncio server.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.addresses import Address
from edge_agent.errors import EdgeError
from edge_agent.grpc_front.api import Api, Call
from edge_agent.grpc_front.calls import Calls, Carried
from edge_agent.grpc_front.infer import Infer
from edge_agent.grpc_front.messages import BadMessage, Messages
from edge_agent.grpc_front.refusal import Refusal

MOST_CALLS = 128
MOST_STREAMS = 64
"""Streams stay open while nothing is asked: they must not take all the threads."""
STOP_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class GrpcConfig:
    """``http`` is the HTTP API's unix socket. ``token`` is asked of clients over TCP; empty asks nobody."""

    http: Path
    listen: Address
    token: str = ""
    max_body_bytes: int = 64 << 20


class GrpcServer:
    """Serves from construction to :meth:`stop`. Raises EdgeError when it cannot listen."""

    def __init__(self, config: GrpcConfig) -> None:
        import grpc

        self._grpc = grpc
        self._api = Api(config.http)
        self._messages = Messages()
        self._infer = Infer(self._api, self._messages, config.max_body_bytes)
        self._streams = threading.BoundedSemaphore(MOST_STREAMS)
        options = [
            ("grpc.max_receive_message_length", config.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else a second server would share the port, and nobody would know
        ]
        self._server = grpc.server(ThreadPoolExecutor(MOST_CALLS, "call"), options=options, maximum_concurrent_rpcs=MOST_CALLS)
        token = config.token if not config.listen.path else ""
        self._server.add_generic_rpc_handlers((self._handlers(token),))
        self.address = self._listen(config.listen)
        self._server.start()

    def stop(self) -> None:
        """Take no more calls, finish those that are under way, but not for ever."""
        self._server.stop(STOP_GRACE_S).wait()
        self._api.close()

    def _listen(self, address: Address) -> Address:
        host = f"[{address.host}]" if ":" in address.host else address.host
        where = f"unix:{address.path}" if address.path else f"{host}:{address.port}"
        try:
            port = self._server.add_insecure_port(where)
        except RuntimeError as error:
            raise EdgeError(f"{where}: gRPC cannot listen here: {error}") from None
        if not address.path and not port:
            raise EdgeError(f"{where}: gRPC cannot listen here")
        return address if address.path else Address(host=address.host, port=port)

    def _handlers(self, token: str) -> Any:
        """Finds a method's handler. Without the right token none is found but one that says so."""
        grpc, table = self._grpc, self._table()
        refused = self._unary(self._refuse("UNAUTHENTICATED", "a token is needed: metadata authorization: Bearer TOKEN"))
        wanted = token.encode()

        class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc, name-defined]
            def service(self, details: Any) -> Any:
                if wanted and not hmac.compare_digest(_bearer(details.invocation_metadata), wanted):
                    return refused
                return table.get(details.method) or unknown(details.method)

        def unknown(method: str) -> Any:
            return self._unary(self._refuse("UNIMPLEMENTED", f"{method[:200]} is not offered here"))

        return Handlers()

    def _table(self) -> dict[str, Any]:
        small = Calls(self._api).table()
        table = {}
        for method in self._messages.methods:
            path = f"/{method.service}/{method.name}"
            if method.streams:
                table[path] = self._grpc.stream_stream_rpc_method_handler(self._stream)
            elif method.name == "ModelInfer":
                table[path] = self._unary(self._infer.one)
            else:
                table[path] = self._unary(self._translated(method.request, method.answer, small[method.name]))
        return table

    def _unary(self, act: Callable[[bytes, Call], bytes]) -> Any:
        def carry_out(data: bytes, context: Any) -> bytes:
            call = Call()
            try:
                context.add_callback(call.end)
                return act(data, call)
            except Refusal as refusal:
                return self._abort(context, refusal)

        return self._grpc.unary_unary_rpc_method_handler(carry_out)

    def _translated(self, request: str, answer: str, carry_out: Carried) -> Callable[[bytes, Call], bytes]:
        def act(data: bytes, call: Call) -> bytes:
            try:
                message = self._messages.read(request, data)
            except BadMessage as error:
                raise Refusal("INVALID_ARGUMENT", str(error)) from None
            try:
                return self._messages.write(answer, carry_out(message, call))
            except BadMessage as error:
                raise Refusal("INTERNAL", str(error)) from None

        return act

    def _stream(self, requests: Iterable[bytes], context: Any) -> Iterator[bytes]:
        if not self._streams.acquire(blocking=False):
            self._abort(context, Refusal("RESOURCE_EXHAUSTED", f"{MOST_STREAMS} streams are open already", retry_s=1.0))
        call = Call()
        try:
            context.add_callback(call.end)
            yield from self._infer.stream(requests, call)
        finally:
            self._streams.release()

    def _refuse(self, code: str, text: str) -> Callable[[bytes, Call], bytes]:
        def refuse(data: bytes, call: Call) -> bytes:
            raise Refusal(code, text)

        return refuse

    def _abort(self, context: Any, refusal: Refusal) -> bytes:
        """Ends the call; clients that retry by themselves wait as long as they are told (gRFC A6)."""
        if refusal.retry_s:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(int(refusal.retry_s * 1000))),))
        context.abort(self._grpc.StatusCode[refusal.code], refusal.text)
        raise AssertionError("abort does not return")


def _bearer(metadata: Any) -> bytes:
    for name, value in metadata or ():
        if name == "authorization":
            scheme, _, token = value.partition(" ") if isinstance(value, str) else ("", "", "")
            return token.strip().encode() if scheme.lower() == "bearer" else b""
    return b""
