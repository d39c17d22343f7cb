"""Layer by layer: the noise of each alone, and the channels that pruning left."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from converters.report.html import bar, card, count, db, soft, table
from converters.report.measure import chosen

MAX_LAYERS = 40


def sensitivity(tree: Mapping[str, Any]) -> str:
    """The noisiest first; a longer bar is more noise."""
    layers = tree["sensitivity"]
    if not layers:
        return ""
    kept = {name: [at for at, item in enumerate(tree["candidates"], 1) if name in item["kept_float"]] for name in _names(tree)}
    known = [layer["sqnr_db"] for layer in layers if layer["sqnr_db"] is not None]
    worst, best = min(known, default=0.0), max(known, default=0.0)
    rows = [
        [
            layer["layer"],
            layer["op"],
            db(layer["sqnr_db"]),
            bar(1.0 if layer["sqnr_db"] is None else 1 - 0.9 * (layer["sqnr_db"] - worst) / max(best - worst, 10.0), "refused"),
            "float in " + ", ".join(f"{at}" for at in kept[layer["layer"]]) if layer["layer"] in kept else "–",
        ]
        for layer in layers[:MAX_LAYERS]
    ]
    head = ["layer", "operator", "signal to noise", "noise", "given back"]
    more = soft(f"and {len(layers) - MAX_LAYERS} quieter ones") if len(layers) > MAX_LAYERS else ""
    note = "Signal to noise of the outputs when this layer alone is in integers, the noisiest first."
    return card("Noise of each layer", table(head, rows, caption=note), more, note=note)


def pruning(tree: Mapping[str, Any]) -> str:
    """Channels before and after, of the chosen network or else of the narrowest that passed."""
    variants = {variant["name"]: variant for variant in tree.get("variants", [])}
    if not any(variant["layers"] for variant in variants.values()):
        return ""
    item = chosen(tree)
    whole = variants.get("")
    most = max(whole["macs"] if whole else max(variant["macs"] for variant in variants.values()), 1)
    work = [
        [
            name or "the model itself",
            count(variant["macs"]),
            f"{100 * variant['macs'] / most:.0f} %",
            bar(variant["macs"] / most),
        ]
        for name, variant in variants.items()
        if variant["layers"] or not name
    ]
    parts = [table(["network", "multiplications", "of all", ""], work, caption="Work of each network")]
    held = variants.get(item["variant"]) if item else None
    if held and held["layers"]:
        rows = [
            [layer["name"], str(layer["before"]), str(layer["after"]), bar(layer["after"] / max(layer["before"], 1), "chosen")]
            for layer in held["layers"][:MAX_LAYERS]
        ]
        parts.append(f"<h3>Channels of the chosen network, {escape(held['name'])}</h3>")
        parts.append(table(["layer writes", "before", "after", "left"], rows, caption="Channels of each layer before and after pruning"))
    else:
        parts.append(soft("The chosen network is not a pruned one: all channels stay."))
    return card("Pruning", *parts)


def _names(tree: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for item in tree["candidates"] for name in item["kept_float"]))
