"""Convolutions and pooling forward and backward in numpy, channels last: a batch is (samples, height, width, channels), float32 or float64.

Every function gives the output and a function from the output's gradient to those of its operands; weights are laid out as ONNX has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converters.prune.rows import Window

Back = Callable[[Any], tuple[Any, ...]]


def convolve(x: Any, weight: Any, bias: Any, window: Window, *, inner: bool) -> tuple[Any, Back]:
    """A convolution of one group. ``inner`` off leaves the input's gradient out: nothing before this layer learns."""
    padded = _padded(x, window.pads)
    patches = _patches(padded, window)
    places, columns = patches.shape[:3], patches.reshape(-1, weight[0].size)
    matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, len(weight))
    y = columns @ matrix
    if bias is not None:
        y += bias

    def back(g: Any) -> tuple[Any, ...]:
        rows = g.reshape(-1, len(weight))
        found = (columns.T @ rows).reshape(*weight.shape[2:], -1, len(weight)).transpose(3, 2, 0, 1)
        into = _spread(g, weight, padded.shape, window, x.shape) if inner else None
        return into, found, _summed(rows)

    return y.reshape(*places, -1), back


def depthwise(x: Any, weight: Any, bias: Any, window: Window) -> tuple[Any, Back]:
    """A convolution with one filter a channel. Rows of pixels are multiplied whole, since channels alone are short for a vector unit."""
    padded = _padded(x, window.pads)
    channels, taps = len(weight), _tap_slices(window, padded.shape)
    flat = np.ascontiguousarray(weight.reshape(channels, -1).T)
    parts = [padded[:, down, across] for down, across in taps]
    shape = parts[0].shape
    if max(window.strides) > 1:
        parts = [np.ascontiguousarray(part) for part in parts]
    wide = [np.tile(kernel, shape[2]).reshape(shape[2:]) for kernel in flat]
    y, product = parts[0] * wide[0], np.empty(shape, x.dtype)
    for part, kernel in zip(parts[1:], wide[1:], strict=True):
        y += np.multiply(part, kernel, out=product)
    if bias is not None:
        y += bias

    def back(g: Any) -> tuple[Any, ...]:
        into, found, product = np.zeros_like(padded), np.empty_like(flat), np.empty_like(g)
        for tap, (down, across) in enumerate(taps):
            into[:, down, across] += np.multiply(g, wide[tap], out=product)
            found[tap] = _summed(np.multiply(g, parts[tap], out=product).reshape(-1, channels))
        return _unpadded(into, window, x.shape), found.T.reshape(weight.shape), _summed(g.reshape(-1, channels))

    return y, back


def max_pool(x: Any, window: Window) -> tuple[Any, Back]:
    """The largest of each window; of equals the first one learns."""
    taps = _tap_slices(window, x.shape)
    y = x[:, taps[0][0], taps[0][1]].copy()
    for down, across in taps[1:]:
        np.maximum(y, x[:, down, across], out=y)

    def back(g: Any) -> tuple[Any, ...]:
        into, left = np.zeros_like(x), g.copy()
        for down, across in taps:
            part = left * (x[:, down, across] == y)
            into[:, down, across] += part
            left -= part
        return (into,)

    return y, back


def _spread(g: Any, weight: Any, padded: tuple[int, ...], window: Window, shape: tuple[int, ...]) -> Any:
    """The gradient of a convolution's input. Without strides it is a convolution of ``g`` with the kernel turned round."""
    if window.strides == (1, 1):
        reach = [(size - 1) * dilation for size, dilation in zip(window.kernel, window.dilations, strict=True)]
        turned = weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1).reshape(-1, weight.shape[1])
        patches = _patches(_padded(g, [(most, most) for most in reach]), window)
        into = (patches.reshape(-1, len(turned)) @ turned).reshape(padded)
    else:
        into, rows = np.zeros(padded, g.dtype), g.reshape(-1, len(weight))
        kernels = weight.transpose(2, 3, 0, 1).reshape(-1, len(weight), weight.shape[1])
        for kernel, (down, across) in zip(kernels, _tap_slices(window, padded), strict=True):
            into[:, down, across] += (rows @ kernel).reshape(*g.shape[:3], -1)
    return _unpadded(into, window, shape)


def _patches(padded: Any, window: Window) -> Any:
    """What every output place reads: a view (samples, height, width, kernel height, kernel width, channels)."""
    sides = [
        (padded.shape[1 + axis] - (window.kernel[axis] - 1) * window.dilations[axis] - 1) // window.strides[axis] + 1 for axis in (0, 1)
    ]
    sample, *steps, channel = padded.strides
    places = [step * stride for step, stride in zip(steps, window.strides, strict=True)]
    taps = [step * dilation for step, dilation in zip(steps, window.dilations, strict=True)]
    shape = (len(padded), *sides, *window.kernel, padded.shape[3])
    return np.lib.stride_tricks.as_strided(padded, shape, (sample, *places, *taps, channel), writeable=False)


def _padded(x: Any, pads: Any) -> Any:
    (top, bottom), (left, right) = pads
    if not (top or bottom or left or right):
        return np.ascontiguousarray(x)
    made = np.zeros((len(x), x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]), x.dtype)
    made[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return made


def _unpadded(into: Any, window: Window, shape: tuple[int, ...]) -> Any:
    (top, _), (left, _) = window.pads
    return into[:, top : top + shape[1], left : left + shape[2]]


def _summed(rows: Any) -> Any:
    """The sum over the rows; a product, since that is faster than numpy's own sum along the first axis."""
    return np.ones(len(rows), rows.dtype) @ rows


def _tap_slices(window: Window, padded: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """For each tap of the window the part of the padded image that it goes over."""
    reach: tuple[list[slice], list[slice]] = ([], [])
    for axis in (0, 1):
        extent = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        places = (padded[1 + axis] - extent) // window.strides[axis] + 1
        starts = [tap * window.dilations[axis] for tap in range(window.kernel[axis])]
        reach[axis].extend(slice(start, start + (places - 1) * window.strides[axis] + 1, window.strides[axis]) for start in starts)
    return [(down, across) for down in reach[0] for across in reach[1]]
