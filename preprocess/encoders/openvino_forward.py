"""A family's forward pass on OpenVINO, which fuses the layers of a tower for the CPU at hand.

A tower is converted once for each model and batch size and kept in the user's cache folder; a process that finds it
there needs no `transformers`. Conversion takes seconds, and the disk space of the weights in fp32.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.metadata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preprocess.encoders.devices import cpu_multiplies_bf16
from preprocess.encoders.int8_weights import GROUP, quantize_weights
from preprocess.encoders.models import ModelFiles
from preprocess.encoders.spec import EncoderSpec, Precision
from preprocess.encoders.torch_encoder import Forward, Load
from preprocess.errors import UserError
from preprocess.storage import atomic_folder, cache_folder, remove_temporary

_MODEL = "model.xml"
_TOWERS = 3
"""Counted up when the code of a tower changes: what was converted from the former one is not used any more."""


def load_openvino(
    load: Load, files: ModelFiles, spec: EncoderSpec, precision: Precision, batch_size: int, weights_sha256: str
) -> Forward:
    """The forward pass of a tower on the CPU, in as many threads as torch was given.

    Args:
        load: Loads the tower with torch, where it was not converted before.
        files: Of the model.
        spec: Of the model.
        precision: `fp32`, `bf16` or `int8`, of products; what comes in and goes out is float32.
        batch_size: Of each call.
        weights_sha256: Checksum of the weights.

    Returns:
        float32 `(batch_size, 3, H, W)`, or `(batch_size, T, 3, H, W)` for clips, normalized, to float32
        `(batch_size, D)`.

    Raises:
        UserError: OpenVINO cannot convert the model.
    """
    model = core().read_model(converted(load, files, spec, batch_size, weights_sha256))
    if precision == "int8":
        quantize_weights(model)
    return forward_by(core().compile_model(model, "CPU", cpu_settings(precision)))


@functools.cache
def core() -> Any:
    """The only `openvino.Core` of this process, which lives as long as the process.

    The CPU plugin of every Core maps a stack for signal handlers (`sigaltstack`), and restores the stack before its own
    when it ends. That of a Core that ended earlier is unmapped by then, and the next handled signal ends the process.
    """
    import openvino

    return openvino.Core()


def cpu_settings(precision: Precision) -> dict[str, object]:
    """What a tower is compiled with: for products in `precision`, in as many threads as torch was given.

    With int8, what is not a product with weights is in bf16 where the CPU multiplies it.
    """
    in_bf16 = precision == "bf16" or (precision == "int8" and cpu_multiplies_bf16())
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if precision == "int8" else 0,
        "INFERENCE_NUM_THREADS": max(1, torch.get_num_threads()),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # every worker would be pinned to the same core
    }


def forward_by(compiled: Any) -> Forward:
    """The forward pass by a compiled model of one input and one output."""
    request = compiled.create_infer_request()

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        vectors = request.infer({0: pixels.numpy()}, share_inputs=True, share_outputs=True)[0]
        return torch.from_numpy(np.array(vectors))  # the request writes into the same memory next time

    return forward


def converted(load: Load, files: ModelFiles, spec: EncoderSpec, batch_size: int, weights_sha256: str) -> Path:
    """The file of the converted tower; of the processes of a machine that need it, one converts it.

    Arguments and errors are those of `load_openvino`.
    """
    *frames, height, width, channels = spec.frame_shape
    shape = (batch_size, *frames, channels, height, width)
    versions = map(importlib.metadata.version, ("openvino", "torch", "transformers"))
    key = "-".join(map(str, (weights_sha256, files.config().get("model_type"), _TOWERS, *shape, *versions)))
    folder = cache_folder("openvino", key)
    if not (folder / _MODEL).is_file():
        with _only_one(folder):
            if not (folder / _MODEL).is_file():
                _convert(load, files, shape, folder)
    return folder / _MODEL


def _convert(load: Load, files: ModelFiles, shape: tuple[int, ...], folder: Path) -> None:
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    tower = _Tower(load(torch.device("cpu"), torch.float32))
    example = torch.zeros((2, *shape[1:]))  # of 1, a dimension of the model could be taken for that of the batch
    try:
        # Not `openvino.convert_model`, which reports to its makers that, and what, it converts.
        frontend = FrontEndManager().load_by_framework("pytorch")
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the tracer: conditions on shapes, which are fixed here
            decoder = TorchScriptPythonDecoder(tower, example_input=(example,))  # to be kept while it is converted
            model = frontend.convert(frontend.load(decoder))
        model.reshape(shape)
    except Exception as error:  # the tracer and the converter have exceptions of their own
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            f"OpenVINO cannot convert model {files.id!r} ({type(error).__name__}: {reason})", "Use --engine torch."
        ) from error
    remove_temporary(folder.parent, folder.name)
    with atomic_folder(folder) as made:
        openvino.save_model(model, made / _MODEL, compress_to_fp16=False)


class _Tower(torch.nn.Module):
    """What the tracer takes: a module; the weights of the tower become constants."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._tower = forward

    def forward(self, pixels: torch.Tensor) -> Any:
        return self._tower(pixels)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
