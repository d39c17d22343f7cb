from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import BundleError
from edge_agent.inference.layout import ALIGN_BYTES, HEADER_BYTES, TEXT_BYTES, layout_of
from edge_agent.values import DTYPES, TensorSpec

sizes = st.one_of(st.none(), st.integers(1, 20))
shapes = st.lists(sizes, max_size=4).map(tuple)
specs = st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), shapes), min_size=1, max_size=4)


def named(shapes: list[tuple[str, tuple[int | None, ...]]], prefix: str) -> list[TensorSpec]:
    return [TensorSpec(f"{prefix}{i}", dtype, shape) for i, (dtype, shape) in enumerate(shapes)]


@given(specs, specs, st.integers(1, 4))
def test_tensors_are_aligned_and_never_overlap(
    inputs: list[tuple[str, tuple[int | None, ...]]], outputs: list[tuple[str, tuple[int | None, ...]]], slots: int
) -> None:
    layout = layout_of(named(inputs, "in"), named(outputs, "out"), slots=slots)
    places = sorted((*layout.inputs, *layout.outputs), key=lambda place: place.offset)
    end = layout.text_offset + TEXT_BYTES
    for place in places:
        assert place.offset % ALIGN_BYTES == 0
        assert place.offset >= end
        end = place.offset + place.capacity_bytes
    assert end <= layout.slot_bytes
    assert layout.total_bytes == slots * layout.slot_bytes
    assert layout.slot_bytes % ALIGN_BYTES == 0
    assert min(place.shape_offset for place in places) >= HEADER_BYTES


@given(specs)
def test_a_tensor_has_room_for_its_least_size(inputs: list[tuple[str, tuple[int | None, ...]]]) -> None:
    wanted = named(inputs, "in")
    for spec, place in zip(wanted, layout_of(wanted, []).inputs, strict=True):
        assert place.capacity_bytes >= spec.bytes_for(1)
        assert (place.shape is None) == (None in spec.shape)


def test_too_many_dimensions_are_refused_by_name() -> None:
    with pytest.raises(BundleError, match="tensor deep: 9 dimensions"):
        layout_of([TensorSpec("deep", "int8", (1,) * 9)], [])
