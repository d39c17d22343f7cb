"""scikit-learn files: what is in a pickle is read without running it, the danger is named, and what is trusted is translated."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import InputError
from converters.loaders.pickle_scan import scan
from converters.loaders.sklearn import translate_sklearn
from converters.tools.catalogue import TOOLS
from converters.tools.environments import find
from converters.translate import Asked, Translated


class Boom:
    """Its pickle runs a command when it is opened."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch opened",)


def pickled(protocol: int = 4) -> bytes:
    return pickle.dumps({"model": Boom(), "_sklearn_version": "1.2.3"}, protocol=protocol)


def translated(path: Path, tmp_path: Path, *, trust: bool = True) -> Translated:
    (tmp_path / "work").mkdir()
    return translate_sklearn(Asked(str(path), trust=trust), tmp_path / "work", lambda text: None)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("packed", [bytes, gzip.compress, zlib.compress])
def test_a_pickle_is_read_without_running_it(protocol: int, packed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.pkl"
    path.write_bytes(packed(pickled(protocol)))  # type: ignore[operator]
    found = scan(path)
    assert found.strange == (os.system.__module__,)
    assert found.version == "1.2.3"
    assert not (tmp_path / "opened").exists()


def test_the_danger_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(pickled())
    with pytest.raises(InputError, match=r"is a pickle: opening it runs whatever code.*code of posix.*--trust.*skops"):
        translated(path, tmp_path, trust=False)


def test_a_missing_environment_is_told_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CONVERT_TOOLS", str(tmp_path / "none"))
    path = tmp_path / "m.joblib"
    path.write_bytes(pickled())
    with pytest.raises(InputError, match="edge-convert tools add sklearn"):
        translated(path, tmp_path)


def test_a_skops_file_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps({"__class__": "Net", "__module__": "mine.nets", "__loader__": "ObjectNode"}))
    assert (scan(path).form, scan(path).strange) == ("skops", ("mine.nets",))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rest", b"hello", b"\x1f\x8bnot gzip"])
def test_what_is_neither_is_told(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"m\.pkl: is (damaged|no pickle)"):
        scan(path)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x80\x04", b"\x1f\x8b", b"\x78\x9c", b"BZh9", b"\xfd7zXZ"]))
def test_any_bytes_are_scanned_or_refused(data: bytes, head: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.pkl"
        path.write_bytes(head + data)
        try:
            assert scan(path).form in ("joblib", "pickle", "skops")
        except InputError as error:
            assert str(path) in str(error)


TRAINED = """
import joblib, numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
draw = np.random.default_rng(0)
x = draw.normal(5, 3, (200, 4)).astype("f")
y = np.array(["low", "high"])[(x[:, 0] * x[:, 1] > 25).astype(int)]
joblib.dump(make_pipeline(StandardScaler(), MLPClassifier((8,), random_state=0, max_iter=50)).fit(x, y), "network.joblib")
joblib.dump(RandomForestClassifier(10, random_state=0).fit(x, y), "forest.joblib", compress=3)
joblib.dump(HistGradientBoostingClassifier(max_iter=5).fit(x, y), "boosting.joblib")
joblib.dump(SVC().fit(x, y), "machine.joblib")
joblib.dump(Ridge().fit(x, x[:, 0] * 2 + 1), "line.joblib")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = find(TOOLS["sklearn"])
    if python is None:
        pytest.skip("the tool environment sklearn is not made: edge-convert tools add sklearn")
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run([python, "-W", "ignore", "-c", TRAINED], cwd=folder, check=True, timeout=300)
    return folder


@pytest.mark.parametrize("name", ["network", "forest", "boosting", "machine", "line"])
def test_a_trusted_model_is_translated_and_compared(name: str, trained: Path, tmp_path: Path) -> None:
    made = translated(trained / f"{name}.joblib", tmp_path)
    assert made.origin == "scikit-learn"
    assert " rows " in made.notes[0]
    assert ("in this order: high, low" in "".join(made.notes)) == (name != "line")


def test_a_trusted_network_becomes_plain_dense_layers(trained: Path, tmp_path: Path) -> None:
    from converters.load import load_source
    from converters.passes.run import run_passes

    graph = load_source(translated(trained / "network.joblib", tmp_path).file).graph
    assert graph is not None
    assert all(node.domain == "" for node in run_passes(graph)[0].nodes)
