"""Inference: one request and its answer, or a stream of them in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge_agent.grpc_front.api import Api, Call
from edge_agent.grpc_front.infer_answer import InferAnswers
from edge_agent.grpc_front.infer_request import InferRequests
from edge_agent.grpc_front.messages import BadMessage, Messages
from edge_agent.grpc_front.refusal import Refusal
from edge_agent.grpc_front.wire import message_field

_ERROR, _ANSWER = 1, 2


class Infer:
    """Takes and gives messages as bytes. Any thread."""

    def __init__(self, api: Api, messages: Messages, max_body_bytes: int) -> None:
        self._api = api
        self._messages = messages
        self._requests = InferRequests(messages, max_body_bytes)
        self._answers = InferAnswers(messages)
        # Clients of models that give several answers to one request look for this; of these models each answer is the last.
        self._final = self._response(parameters={"triton_final_response": True})

    def one(self, data: bytes, call: Call) -> bytes:
        """ModelInferRequest to ModelInferResponse. Raises Refusal."""
        request = self._requests.translate(data)
        answer = self._api.ask(call, request.pieces)
        answer.require_ok()
        return self._answers.translate(bytes(answer.body), answer.head.json_bytes, request.identity)

    def stream(self, requests: Iterable[bytes], call: Call) -> Iterator[bytes]:
        """ModelInferRequests to as many ModelStreamInferResponses, in order. A request that is refused does not end the stream."""
        for data in requests:
            try:
                yield message_field(_ANSWER, self.one(data, call) + self._final)
            except Refusal as refusal:
                if refusal.code == "CANCELLED":
                    return
                yield self._refused(data, refusal)

    def _refused(self, data: bytes, refusal: Refusal) -> bytes:
        """The error, and whose it is."""
        try:
            identity = self._messages.read("ModelInferRequest", data).id
        except BadMessage:
            identity = ""
        answer = self._response(identity=identity) + self._final
        return message_field(_ERROR, refusal.text.encode()) + message_field(_ANSWER, answer)

    def _response(self, *, identity: str = "", parameters: dict[str, bool] | None = None) -> bytes:
        response = self._messages.of("ModelInferResponse")(id=identity)
        for name, value in (parameters or {}).items():
            response.parameters[name].bool_param = value
        return bytes(response.SerializeToString())
