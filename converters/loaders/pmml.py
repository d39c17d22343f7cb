"""PMML files (DMG PMML 4.x), read by us, as ONNX with one input ``x`` and one output ``scores``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from converters.errors import InputError
from converters.given import read_given
from converters.loaders.pmml_expressions import with_derived
from converters.loaders.pmml_fields import Scope, base_columns, input_fields, read_fields, told
from converters.loaders.pmml_mining import MODELS, compiled
from converters.loaders.pmml_net import Net
from converters.loaders.pmml_result import Result
from converters.loaders.pmml_xml import Element, RefusedElement, parse_xml
from converters.translate import Asked, Tell, Translated

MAX_BYTES = 256 << 20
OUTPUT = "scores"


def translate_pmml(asked: Asked, folder: Path, tell: Tell) -> Translated:
    """The ONNX file of a PMML document, float32, ``x`` (1, fields) to ``scores`` (1, classes) or (1, 1).

    Raises :class:`InputError` naming file, line and element of what cannot be taken over.
    """
    path = Path(asked.model)
    data = read_given(path, max_bytes=MAX_BYTES)
    tell(f"{path.name}: reading PMML")
    try:
        model, notes = onnx_of(data)
    except RefusedElement as error:
        raise InputError(f"{path}: {error}") from None
    file = folder / "model.onnx"
    file.write_bytes(model)
    return Translated(file, path, hashlib.sha256(data).hexdigest(), len(data), "pmml", notes)


def onnx_of(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The ONNX file of a document, and what people must know to use it. Raises :class:`RefusedElement`."""
    root = parse_xml(data)
    if root.name != "PMML":
        raise root.refused("is not PMML")
    version = root.get("version")
    if not version.startswith("4."):
        raise root.refused(f"version {version[:20]!r} is not taken over; 4.x is")
    model = _model(root)
    fields = read_fields(root)
    inputs = input_fields(model, fields)
    net = Net(len(inputs))
    dictionary = root.first("TransformationDictionary")
    functions = {element.need("name"): element for element in (dictionary.all("DefineFunction") if dictionary else ())}
    scope = with_derived(Scope(net, fields, base_columns(inputs), functions), dictionary)
    result = compiled(model, scope)
    proto = net.model(result.tensor, OUTPUT)
    return bytes(proto.SerializeToString(deterministic=True)), (*told(inputs), *_answers(result))


def _model(root: Element) -> Element:
    found = [child for child in root.children if child.name in MODELS or child.name.endswith("Model")]
    if len(found) != 1:
        raise root.refused(f"holds {len(found)} models; one was expected")
    if found[0].name not in MODELS:
        raise found[0].refused(f"this kind of model is not taken over; {', '.join(MODELS)} are")
    return found[0]


def _answers(result: Result) -> tuple[str, ...]:
    if result.classes:
        return (f"output {OUTPUT}: one score for each class, in this order: {', '.join(result.classes)}", *result.notes)
    return (f"output {OUTPUT}: the predicted number", *result.notes)
