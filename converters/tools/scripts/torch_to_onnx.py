"""PyTorch to ONNX, inside its own environment: ``model.pt2``, ``model.pt`` or code and ``weights`` in, ``model.onnx`` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused
from converters.tools.scripts.onnx_names import finish
from converters.tools.scripts.reference import inputs_for, save
from converters.tools.scripts.torch_open import coded, exported, pickled, scripted

OPSET_PROGRAM, OPSET_SCRIPT = 18, 17
"""The lowest that each exporter writes without converting down."""


def main(folder: Path, job: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    import torch

    torch.manual_seed(int(job["seed"]))
    tell(f"PyTorch {torch.__version__}: reading the model")
    opened, specs = _open(folder, job)
    feeds = inputs_for(specs, int(job["seed"]), folder / "given.npz")
    tensors = [[torch.from_numpy(array) for array in feed] for feed in feeds]
    ask = _asking(opened, job["format"])
    with torch.no_grad():
        names = _output_names(ask(tensors[0]))
        tell("translating to ONNX")
        model = _from_script(opened, tensors[0], folder) if job["format"] == "script" else _from_program(opened, tensors[0])
        finish(_plain(model), specs, names, folder / "model.onnx")
        tell("asking PyTorch for reference answers")
        save(folder, specs, feeds, lambda feed: _flat(ask([torch.from_numpy(array) for array in feed])))
    return {"outputs": names, "framework": f"PyTorch {torch.__version__}", "rows": len(feeds)}


def _open(folder: Path, job: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    if job["format"] == "program":
        return exported(folder / "model.pt2")
    if job["format"] == "script":
        return scripted(folder / "model.pt", job["inputs"])
    weights = folder / "weights"
    if job["format"] == "module":
        return pickled(job, weights, job["inputs"])
    return coded(job, weights if weights.exists() else None, job["inputs"])


def _asking(opened: Any, form: str) -> Callable[[list[Any]], Any]:
    """How to put one question: an exported program may take its inputs by name."""
    if form != "program":
        return lambda tensors: opened(*tensors)
    from torch.utils import _pytree

    module = opened.module()

    def ask(tensors: list[Any]) -> Any:
        arguments, named = _pytree.tree_unflatten(tensors, opened.call_spec.in_spec)
        return module(*arguments, **named)

    return ask


def _from_program(opened: Any, tensors: list[Any]) -> Any:
    import torch

    program = opened if hasattr(opened, "graph_signature") else torch.export.export(opened, tuple(tensors))
    made = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET_PROGRAM, external_data=False, optimize=True, verbose=False)
    return made.model_proto


def _from_script(opened: Any, tensors: list[Any], folder: Path) -> Any:
    import onnx
    import torch

    aside = folder / "script.onnx"
    try:
        torch.onnx.export(opened, tuple(tensors), str(aside), dynamo=False, opset_version=OPSET_SCRIPT)
    except TypeError as error:
        raise Refused(
            f"is TorchScript, which PyTorch {torch.__version__} exports no more ({error}); save it with torch.export.save"
        ) from None
    return onnx.load(str(aside))


def _plain(model: Any) -> Any:
    """Without functions of its own, and without the notes on where each node came from, which name the exporting machine's files."""
    from onnx import inliner

    if model.functions:
        model = inliner.inline_local_functions(model)
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for item in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        item.doc_string = ""
        del item.metadata_props[:]
    return model


def _output_names(answer: Any) -> list[str]:
    """The keys of a dictionary; ``output`` for one tensor, ``output_0`` ... for more."""
    if isinstance(answer, dict) and all(isinstance(key, str) and hasattr(value, "shape") for key, value in answer.items()):
        return list(answer)
    count = len(_flat(answer))
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _flat(answer: Any) -> list[Any]:
    from torch.utils import _pytree

    flat = [value.detach() if hasattr(value, "detach") else value for value in _pytree.tree_leaves(answer) if value is not None]
    if not all(hasattr(value, "numpy") for value in flat):
        raise Refused("gives something else than tensors; wrap it in a module that returns tensors only")
    return [value.numpy() for value in flat]
