"""The protocol's messages. The only place that knows the protobuf library."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from edge_agent.grpc_front.proto_text import Method, ProtoReader

FILES = ("inference.proto", "health.proto")


class BadMessage(ValueError):
    """Bytes that are not the message they should be."""


class Messages:
    """Message classes by full name, in a pool of their own: a program that has the protocol's generated code may use this beside it."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory

        self._json = json_format
        self._error = message.DecodeError
        self._classes: dict[str, Any] = {}
        self.methods: list[Method] = []
        pool = descriptor_pool.DescriptorPool()
        for name in FILES:
            file = descriptor_pb2.FileDescriptorProto(name=name)
            reader = ProtoReader((files("edge_agent.grpc_front") / name).read_text(encoding="utf-8"), file)
            reader.read()
            pool.AddSerializedFile(file.SerializeToString())
            self.methods += reader.methods
            for kind in file.message_type:
                full = f"{file.package}.{kind.name}"
                self._classes[full] = message_factory.GetMessageClass(pool.FindMessageTypeByName(full))

    def of(self, name: str) -> Any:
        """The class of message ``name``: a full name, or one of package ``inference``."""
        return self._classes[name] if name in self._classes else self._classes[f"inference.{name}"]

    def read(self, name: str, data: bytes) -> Any:
        """The message in ``data``. Raises BadMessage."""
        try:
            return self.of(name).FromString(data)
        except self._error as error:
            raise BadMessage(f"the message is not a {name}: {error}") from None

    def write(self, name: str, tree: Mapping[str, Any]) -> bytes:
        """``tree``, JSON as the HTTP API speaks it, as message ``name``; what the message does not have is left out. Raises BadMessage."""
        try:
            filled = self._json.ParseDict(dict(tree), self.of(name)(), ignore_unknown_fields=True)
        except self._json.ParseError as error:
            raise BadMessage(f"the API's answer is not a {name}: {error}") from None
        return bytes(filled.SerializeToString())
