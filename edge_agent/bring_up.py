"""A model's first worker after a start: the active version, and when that cannot be, whatever this device has that can."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edge_agent.config import ModelConfig
from edge_agent.errors import EdgeError, StoreError
from edge_agent.factory import Say, install_factory_model
from edge_agent.inference.engine import Engine
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.machine import UpdateRecord
from edge_agent.update.store import FileStore


def bring_up(model: ModelConfig, store: FileStore, engine: Engine, facts: DeviceFacts, say: Say) -> None:
    """Serve ``model``. Tried in turn: the active version, those before it whose files are whole, what can be unpacked anew from its
    bundle, the version the device was born with. What goes wrong is an event, never an error: the other models are to serve, too.
    """
    active = _active(model.name, store, say)
    if not active:
        say("model_missing", "warning", f"{model.name}: no version is installed; waiting for one", model=model.name)
        return
    failed = ""
    for digest in _candidates(model, store, facts, active):
        try:
            if digest != active:
                _remember(model.name, digest, failed or active, store, say)
            engine.serve(model.name, digest)
        except EdgeError as error:
            say("model_failed", "error", f"{model.name}: a version does not start: {error}", model=model.name, digest=digest)
            failed = digest
        else:
            return
    say("model_failed", "error", f"{model.name}: no version on this device can serve", model=model.name, digest=active)


def restore_pointers(store: FileStore, last: UpdateRecord, say: Say) -> None:
    """Where a pointer was damaged, name a whole version of its model again: what the ``last`` update ended with, else the newest.

    What the last update did not end with, because it was interrupted or failed, is taken only when it is alone.
    """
    proven = last.result.endswith("done")
    for model in store.lost_pointers:
        found = sorted(store.survivors(model), key=lambda digest: (digest == last.digest) is not proven if last.digest else 0)
        say("pointer_damaged", "error", f"{model}: which version served was not readable and was set aside", model=model, found=len(found))
        try:
            for digest in reversed(found):  # the last one set is active, those before it are its history
                store.set_active(model, digest)
        except StoreError as error:
            say("model_failed", "error", f"{model}: {error}", model=model, digest=found[0])


def _active(model: str, store: FileStore, say: Say) -> str:
    try:
        return store.active(model)
    except StoreError as error:  # damaged, and on a disk that does not let it be set aside
        say("model_failed", "error", f"{model}: {error}", model=model, digest="")
        return next(iter(store.survivors(model)), "")


def _candidates(model: ModelConfig, store: FileStore, facts: DeviceFacts, active: str) -> Iterator[str]:
    """Each is made ready only when the one before it did not serve."""
    tried = {""}
    with contextlib.suppress(StoreError):
        known = store.known(model.name) or (active,)
        for make_ready in (store.healthy, store.mend):
            for digest in known:
                if digest not in tried and make_ready(digest):
                    tried.add(digest)
                    yield digest
    if active not in tried and store.healthy(active):
        tried.add(active)
        yield active
    if model.bundle is not None:
        with contextlib.suppress(EdgeError):
            digest = install_factory_model(model, store, facts)
            if digest not in tried and not store.quarantined(digest):
                yield digest


def _remember(model: str, digest: str, forget: str, store: FileStore, say: Say) -> None:
    """Make the pointer say what will serve. No quarantine: the same bytes may be whole again when fetched anew, or start again on a
    mended system. Serving counts more than remembering it: a disk that cannot be written must not keep a model from serving.
    """
    version = store.manifest(digest).version
    say("model_fallback", "warning", f"{model}: version {version} from before serves", model=model, digest=digest)
    try:
        store.set_active(model, digest, forget=forget)
    except StoreError as error:
        say("model_failed", "error", f"{model}: that {version} serves now cannot be remembered: {error}", model=model, digest=digest)
