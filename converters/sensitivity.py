"""How much noise each layer's quantization alone brings to the outputs: which layers to give back to float first.

Measured by leaving all others in float (the other way round from leaving one out, so that small noises do not drown in large ones), on a
few samples, in the ONNX form; the order serves both formats, since both quantize alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from converters.distance import distance
from converters.errors import UnsupportedOp
from converters.model import Graph
from converters.original import Original
from converters.targets.onnx_qdq import emit_onnx_int8
from converters.variants import Variant
from converters.workshop import Proof, Workshop
from edge_agent.errors import ModelError

SAMPLES = 16
MOST_LAYERS = 64

Each = Callable[[Callable[[str], "LayerNoise | None"], Sequence[str]], list["LayerNoise | None"]]


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """``layer`` is the name of the first tensor that a node gives; ``sqnr_db`` the signal to noise of the model's outputs when nothing else
    is quantized."""

    layer: str
    op: str
    sqnr_db: float


def rank_layers(workshop: Workshop, variant: Variant, original: Original, each: Each) -> tuple[LayerNoise, ...]:
    """The noisiest layer first. ``each`` maps a function over names, at once where it can."""
    layers = quantized_layers(variant)
    everything = frozenset(name for name, _ in layers)
    rows = original.split.evaluate[:SAMPLES]
    reference = first_rows(original.proof, len(rows))
    ops = dict(layers)

    def alone(layer: str) -> LayerNoise | None:
        assert variant.calibration is not None
        try:
            others = everything - {layer}
            data = emit_onnx_int8(variant.for_integers(others), variant.calibration.ranges, others)
            proof = workshop.prove(f"layer {sorted(everything).index(layer)} alone", data, "onnx", rows)
        except (UnsupportedOp, ModelError):
            return None
        return LayerNoise(layer, ops[layer], distance(reference, proof)[1])

    found = [noise for noise in each(alone, [name for name, _ in layers]) if noise is not None]
    return tuple(sorted(found, key=lambda noise: (noise.sqnr_db, noise.layer)))


def quantized_layers(variant: Variant) -> tuple[tuple[str, str], ...]:
    """First output and operator of every node that an integer target computes in integers; only layers with weights in large networks."""
    assert variant.calibration is not None
    nodes = [node for node in variant.graph.nodes if node.output and node.output[0] in variant.calibration.ranges]
    weighted = [node for node in nodes if has_weights(node, variant.graph)]
    chosen = nodes if len(nodes) <= MOST_LAYERS else weighted
    return tuple((str(node.output[0]), str(node.op_type)) for node in chosen)


def has_weights(node: object, graph: Graph) -> bool:
    return any(name in graph.constants and graph.constants[name].ndim >= 2 for name in list(getattr(node, "input", ()))[1:])


def first_rows(proof: Proof, count: int) -> Proof:
    """The same proof, of its first ``count`` samples alone."""
    values = {name: array[:count] for name, array in proof.values.items()}
    return Proof(proof.path, proof.runtime, proof.version, proof.inputs, proof.outputs, values, proof.bytes, proof.bytes_beside)
