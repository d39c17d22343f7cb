"""``[[models]] mapped``: from the configuration to the options that a worker runs with, and only where weights lie beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from models import tiny_bundle
from weighty import beside_bundle

from edge_agent.bundle.manifest import Manifest
from edge_agent.config_reader import parse
from edge_agent.errors import ConfigError
from edge_agent.inference.context import ModelVersion
from edge_agent.model_options import ModelOptions
from edge_agent.runtimes.options import RuntimeOptions


def read(**model: Any) -> Any:
    return parse({"device": {"id": "d"}, "models": [{"name": "m", **model}]}, base=Path("/")).models[0]


def version(manifest: Manifest) -> ModelVersion:
    return ModelVersion("m", "0" * 64, manifest, Path("/nowhere"))


def test_weights_are_laid_out_anew_unless_the_configuration_says_mapped() -> None:
    assert not read().mapped
    assert read(mapped=True).mapped
    with pytest.raises(ConfigError, match=r"models\[0\].mapped: must be true or false"):
        read(mapped="yes")


def test_a_worker_leaves_weights_mapped_where_they_lie_beside_its_model(tmp_path: Path) -> None:
    beside, inside = beside_bundle(tmp_path)[1], tiny_bundle(tmp_path / "inside.edgemodel").manifest
    options = ModelOptions({}, 2, mapped={"m"})
    assert options.of(version(beside)) == RuntimeOptions(2, prepack=False)
    assert options.of(version(inside)) == RuntimeOptions(2)
    assert ModelOptions({}, 2, mapped={"other"}).of(version(beside)) == RuntimeOptions(2)
