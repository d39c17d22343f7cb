"""From what people have to ONNX: which translator takes a file that no target can be written from directly.

A translator reads the file (or runs its framework on a copy, in an environment of its own), writes one ONNX file into a folder it is
given, and says where that came from. ONNX and TensorFlow Lite files need none of this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol


class Tell(Protocol):
    """Hears what is being done; ``part`` (0 to 1) is how much of the last step is, ``text`` then what was done just now."""

    def __call__(self, text: str, part: float | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user said of the file beside its name.

    ``trust`` allows formats that run code when they are opened (pickle and its like, scripted layers); ``inputs`` declares inputs that
    the file does not (``name:dtype[sizes]``); ``weights`` is the file with the weights where ``model`` names code
    (``package.module:function``); ``samples`` are real samples the translation may be checked on; ``make_tools`` allows to make a missing
    tool environment; ``files`` are all others that the user named, which are never written to.
    """

    model: str
    trust: bool = False
    inputs: tuple[str, ...] = ()
    weights: Path | None = None
    samples: Path | None = None
    make_tools: bool = False
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Translated:
    """``file`` is the ONNX file made of the user's; ``path``, ``sha256`` and ``bytes`` are of the user's; ``origin`` names its format;
    ``notes`` say how faithful the translation was found to be, and what was left behind."""

    file: Path
    path: Path
    sha256: str
    bytes: int
    origin: str
    notes: tuple[str, ...] = ()


Translator = Callable[[Asked, Path, Tell], Translated]
"""Takes what was asked, an empty folder to work in, and who hears of progress.

Raises :class:`~converters.errors.InputError` naming the file and what to do.
"""


def _keras(asked: Asked, folder: Path, tell: Tell) -> Translated:
    from converters.loaders.keras import translate_keras

    return translate_keras(asked, folder, tell)


def _pytorch(asked: Asked, folder: Path, tell: Tell) -> Translated:
    from converters.loaders.pytorch import translate_pytorch

    return translate_pytorch(asked, folder, tell)


def _sklearn(asked: Asked, folder: Path, tell: Tell) -> Translated:
    from converters.loaders.sklearn import translate_sklearn

    return translate_sklearn(asked, folder, tell)


def _pmml(asked: Asked, folder: Path, tell: Tell) -> Translated:
    from converters.loaders.pmml import translate_pmml

    return translate_pmml(asked, folder, tell)


def _mlflow(asked: Asked, folder: Path, tell: Tell) -> Translated:
    from converters.loaders.mlflow import translate_mlflow

    return translate_mlflow(asked, folder, tell)


TRANSLATORS: Mapping[str, Translator] = MappingProxyType(
    {"keras": _keras, "pytorch": _pytorch, "sklearn": _sklearn, "pmml": _pmml, "mlflow": _mlflow}
)
