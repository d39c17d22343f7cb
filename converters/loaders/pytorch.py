"""PyTorch programs (.pt2), TorchScript (.pt) and code with weights, through PyTorch in its tool environment."""

from __future__ import annotations

import hashlib
import importlib.machinery
import re
import zipfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from converters.errors import InputError
from converters.given import check_given
from converters.loaders.declared import declared
from converters.loaders.faithful import compared, keep_given
from converters.loaders.torch_archive import MAX_BYTES, MODULE, PROGRAM, SCRIPT, kind_in
from converters.tools.drive import environment_for, run_tool
from converters.translate import Asked, Tell, Translated
from edge_agent.bundle.archive import sha256_file

SEED = 0
_CODE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)")
_FORMS = MappingProxyType(
    {
        PROGRAM: ("program", "model.pt2", "PyTorch program"),
        SCRIPT: ("script", "model.pt", "TorchScript"),
        MODULE: ("module", "weights", "pickled PyTorch module"),
    }
)


def translate_pytorch(asked: Asked, folder: Path, tell: Tell) -> Translated:
    """The ONNX file of what PyTorch wrote. Raises :class:`InputError`.

    Code is run only with ``asked.trust``: that of ``package.module:function``, and what a file would import or touch when it is opened.
    """
    path = Path(asked.model)
    if not path.exists() and _CODE.fullmatch(asked.model):
        return _from_code(asked, folder, tell)
    check_given(path, max_bytes=MAX_BYTES)
    kind = kind_in(path, trust=asked.trust)
    form, name, origin = _FORMS[kind]
    made = _run(asked, str(path), {"format": form, "folder": str(Path.cwd())}, {name: path}, folder, tell)
    return Translated(made[0], path, sha256_file(path), path.stat().st_size, origin, (made[1],))


def _from_code(asked: Asked, folder: Path, tell: Tell) -> Translated:
    """The function is looked up in the folder the command is run in, as ``python -m`` would; nothing is written there."""
    if not asked.trust:
        raise InputError(f"{asked.model}: is code, which would be imported and run; give --trust if you know what it does")
    source = _source_of(asked.model)
    files: dict[str, Path] = {}
    if asked.weights is not None:
        check_given(asked.weights, max_bytes=MAX_BYTES)
        if not zipfile.is_zipfile(asked.weights):
            raise InputError(f"{asked.weights}: is no PyTorch file of version 1.6 or newer; load it and save it again with torch.save")
        files["weights"] = asked.weights
    job = {"format": "code", "code": asked.model, "folder": str(Path.cwd())}
    file, note = _run(asked, asked.model, job, files, folder, tell)
    given = [path for path in (source, asked.weights) if path is not None]
    digest = hashlib.sha256("".join(f"{sha256_file(path)}\n" for path in given).encode()).hexdigest()
    size_bytes = asked.weights.stat().st_size if asked.weights else file.stat().st_size
    notes = (note,) if asked.weights else (note, "no --weights were given: its weights are those its own code sets")
    return Translated(file, asked.weights or source, digest, size_bytes, "PyTorch code", notes)


def _run(asked: Asked, what: str, job: dict[str, Any], files: dict[str, Path], folder: Path, tell: Tell) -> tuple[Path, str]:
    """The translation, and a note on how faithful it is."""
    inputs = [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in declared(asked.inputs)]
    environment_for("pytorch", what, may_make=asked.make_tools, tell=tell)
    work = folder / "pytorch"
    work.mkdir()
    keep_given(asked.samples, work / "given.npz")
    whole = {**job, "what": what, "inputs": inputs, "seed": SEED}
    answer = run_tool("pytorch", "torch_to_onnx", whole, files, work, make=asked.make_tools, tell=tell)
    tell("comparing the translation with the original")
    return work / "model.onnx", compared(work, what, answer.tree)


def _source_of(model: str) -> Path:
    """The file of the module, found without importing anything. Raises :class:`InputError` where there is none."""
    found = _CODE.fullmatch(model)
    parts = found["module"].split(".") if found else []
    folder = Path.cwd()
    for part in parts[:-1]:
        folder = folder / part
    spec = importlib.machinery.PathFinder.find_spec(parts[-1], [str(folder)]) if parts else None
    if spec is None or spec.origin is None:
        raise InputError(f"{model}: there is no module {'.'.join(parts)} in {Path.cwd()}; run the command in the folder that holds it")
    return Path(spec.origin)
