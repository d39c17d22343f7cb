"""Opening what PyTorch wrote: an exported program, a TorchScript, or code with weights. Each gives a module and its inputs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused

_HOLDERS = ("state_dict", "model_state_dict", "model", "net", "weights")


def exported(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The program in a ``.pt2`` file, and its inputs with ``None`` for free sizes. Raises Refused."""
    import torch

    try:
        program = torch.export.load(str(path))
    except Exception as error:
        raise Refused(
            f"PyTorch {torch.__version__} cannot read it ({_short(error)}); export it again with this or an older version"
        ) from None
    if any(_trains(node) for node in program.graph.nodes):
        raise Refused("was exported in training mode; call model.eval() before torch.export.export")
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    specs = []
    for name in program.graph_signature.user_inputs:
        value = values.get(name)
        if not isinstance(value, torch.Tensor):
            raise Refused(f"input {name} is not a tensor; only tensors can be fed on a device")
        specs.append({"name": name, "dtype": dtype_of(value), "shape": [size if isinstance(size, int) else None for size in value.shape]})
    return program, specs


def scripted(path: Path, declared: Sequence[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The TorchScript in ``path``; it does not know its inputs' sizes, which ``declared`` says. Raises Refused."""
    import torch

    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:
        raise Refused(f"PyTorch {torch.__version__} cannot read it ({_short(error)})") from None
    names = [value.debugName().rpartition(".")[0] or value.debugName() for value in list(module.graph.inputs())[1:]]
    if len(declared) != len(names):
        example = " ".join(f"--input '{name}:float32[1,...]'" for name in names)
        raise Refused(f"is TorchScript, which does not say the sizes of its {len(names)} inputs; give {example}")
    return module, list(declared)


def coded(job: dict[str, Any], weights: Path | None, declared: Sequence[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The module that a function of the user's own code makes, with the weights put in. Raises Refused."""
    import torch

    sys.path.insert(0, job["folder"])
    name, _, function = job["code"].partition(":")
    try:
        module = getattr(importlib.import_module(name), function)()
    except Exception as error:
        raise Refused(f"{job['code']} cannot be called in {job['folder']} ({type(error).__name__}: {_short(error)})") from None
    if not isinstance(module, torch.nn.Module):
        raise Refused(f"{job['code']} gives a {type(module).__name__}, not a torch.nn.Module")
    if weights is not None:
        _fill(module, weights)
    return _with_inputs(module, declared)


def pickled(job: dict[str, Any], path: Path, declared: Sequence[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The module in a pickle, which imports its classes from the user's folder: only for what is trusted. Raises Refused."""
    import torch

    sys.path.insert(0, job["folder"])
    try:
        module = torch.load(str(path), map_location="cpu", weights_only=False)
    except Exception as error:
        raise Refused(f"cannot be opened in {job['folder']} ({type(error).__name__}: {_short(error)})") from None
    if not isinstance(module, torch.nn.Module):
        raise Refused(f"holds a {type(module).__name__}, not a torch.nn.Module")
    return _with_inputs(module, declared)


def _with_inputs(module: Any, declared: Sequence[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    if not declared:
        raise Refused("does not say the sizes of its inputs; give --input 'name:float32[1,...]' for each, in the order of forward()")
    return module.eval(), list(declared)


def _fill(module: Any, weights: Path) -> None:
    import torch

    try:
        held = torch.load(str(weights), map_location="cpu", weights_only=True)
    except Exception as error:
        raise Refused(
            f"its weights cannot be read as plain tensors ({_short(error)}); save them with torch.save(model.state_dict(), file)"
        ) from None
    for name in _HOLDERS:
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
    if not isinstance(held, dict):
        raise Refused(f"its weights are a {type(held).__name__}, not a state dict")
    held = {name.removeprefix("module."): value for name, value in held.items()}  # as DataParallel writes them
    try:
        module.load_state_dict(held)
    except RuntimeError as error:
        raise Refused(f"its weights do not fit its code ({_short(error)})") from None


def _trains(node: Any) -> bool:
    """A dropout that drops, or a batch normalisation that learns."""
    target = str(node.target)
    if "dropout" in target:
        return len(node.args) > 2 and node.args[2] is True
    return "batch_norm" in target and "no_training" not in target and len(node.args) > 5 and node.args[5] is True


def dtype_of(value: Any) -> str:
    return str(value.dtype).rpartition(".")[2]


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
