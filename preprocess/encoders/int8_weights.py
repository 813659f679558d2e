"""Weights of matrix products in int8, for a CPU on which those products are faster.

A product `x W^T` becomes `s * (x Q^T)`: Q in int8, with one factor s for each output. While it runs, OpenVINO brings x
to int8, too, where the CPU multiplies it: `GROUP` neighboring values of a row share a factor, which is found as they
come. So nothing is calibrated, and a row depends on its own pixels only. `benchmarks/int8.py` judges the quality of the
vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = 64
"""Values of a row that share a factor: smaller groups lose less, larger ones are faster."""


def quantize_weights(model: Any) -> None:
    """Replaces the weights of all matrix products of an `openvino.Model`, in place; the rest stays as it is."""
    from openvino import opset15

    for product in model.get_ordered_ops():
        if product.get_type_name() != "MatMul":
            continue
        weights = product.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or len(weights.shape) != 2:
            continue
        inputs_last = product.get_attributes()["transpose_b"]
        quantized, scales = quantized_weights(weights.data, axis=1 if inputs_last else 0)
        # The form that the CPU plugin keeps in int8; any other would be folded back into floats.
        floats = opset15.multiply(opset15.convert(opset15.constant(quantized), "f32"), opset15.constant(scales))
        product.input(1).replace_source_output(floats.output(0))


def quantized_weights(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rounds to the 255 steps from minus to plus the largest weight of each output.

    Args:
        weights: float32 `(out, in)`, or `(in, out)`.
        axis: Of the inputs.

    Returns:
        int8 of that shape, and float32 with 1 along `axis`; their product differs from the weights by at most half a
        step.
    """
    largest = np.abs(weights).max(axis, keepdims=True)
    scales = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    return np.rint(weights / scales).astype(np.int8), scales
