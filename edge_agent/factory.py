"""The models a device is born with: installed into the store when it has none of that name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_agent.bundle.archive import read_manifest
from edge_agent.config import ModelConfig
from edge_agent.errors import BundleError, EdgeError, StoreError
from edge_agent.update.compatibility import DeviceFacts, unfit
from edge_agent.update.store import FileStore

Say = Callable[..., Any]
"""``say(kind, level, message, **data)``: an event of the agent."""


def install_factory_models(models: Sequence[ModelConfig], store: FileStore, facts: DeviceFacts, say: Say) -> None:
    """Adopt, unpack and activate each configured bundle whose model has no active version yet.

    A bundle that cannot be used is an event, not the end: the other models still serve.
    """
    for model in models:
        if model.bundle is None:
            continue
        try:
            if _has_version(model.name, store):
                continue
            digest = install_factory_model(model, store, facts)
            version = store.manifest(digest).version
            store.set_active(model.name, digest)
            say("model_installed", "info", f"{model.name}@{version} installed from {model.bundle}", model=model.name, digest=digest)
        except EdgeError as error:
            say("model_failed", "error", f"{model.name}: {error}", model=model.name)


def install_factory_model(model: ModelConfig, store: FileStore, facts: DeviceFacts) -> str:
    """Adopt and unpack the configured bundle of ``model``; returns its digest. Raises EdgeError when it cannot be used here."""
    assert model.bundle is not None
    digest = store.adopt(model.bundle)
    manifest = store.unpack(digest)
    if manifest.name != model.name:
        raise BundleError(f"{model.bundle}: is a bundle of {manifest.name!r}, but [[models]] calls it {model.name!r}")
    if reasons := unfit(manifest, facts):
        raise BundleError(f"{model.bundle}: {'; '.join(reasons)}")
    return digest


def _has_version(model: str, store: FileStore) -> bool:
    """Whether a version is chosen already. A pointer that cannot even be set aside says nothing, and nothing can be installed either."""
    try:
        return bool(store.active(model))
    except StoreError:
        return True


def needed_runtimes(models: Sequence[ModelConfig], store: FileStore) -> tuple[str, ...]:
    """Names of the runtimes that the models of this device use now: what is worth sharing from the zygote.

    A model that comes later with another runtime imports it in its own worker: slower to start, but nothing else pays for it.
    """
    needed = set()
    for model in models:
        try:
            active = store.active(model.name)
            if active:
                needed.add(store.manifest(active).runtime.name)
            elif model.bundle is not None:
                needed.add(read_manifest(model.bundle).runtime.name)
        except (EdgeError, OSError):
            continue  # starting the model says what is wrong with it
    return tuple(sorted(needed))
