"""Tensor files: one `.pt` holds one bfloat16 tensor; equal tensors give equal bytes.

save_tensor(Path("latents/09s/tom_09s_0000_6d1f09c2.pt"), moments)      # bfloat16 (37, 32, 60, 90)
fault(Path("latents/09s/tom_09s_0000_6d1f09c2.pt"), LATENTS)            # None, or the problem
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preprocess.storage import write_atomic

if TYPE_CHECKING:
    import torch

FaultCode = Literal[
    "missing_file",
    "unreadable_file",
    "not_a_tensor",
    "wrong_dtype",
    "wrong_shape",
    "not_finite",
    "out_of_range",
]

MEAN_RANGE = (-10.0, 10.0)
LOGVAR_RANGE = (-40.0, 10.0)
"""Latents outside these ranges indicate a failed encode. Source: `data/precomp_video.py` of ttt-video-dit."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem of a file: a code for programs, a message for users."""

    code: FaultCode
    message: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The expected properties of a tensor.

    Attributes:
        shape: Length of each axis; None for any.
        latents: Whether the second axis holds means and log-variances, each within its range.
    """

    shape: tuple[int | None, ...]
    latents: bool = False


def save_tensor(path: Path, tensor: torch.Tensor) -> int:
    """Writes a tensor as bfloat16, atomically; returns the number of bytes written."""
    import torch

    buffer = io.BytesIO()  # torch.save writes a file's name into the archive, so its bytes would depend on the name
    torch.save(tensor.detach().to("cpu", torch.bfloat16, copy=True).contiguous(), buffer)
    data = buffer.getvalue()
    write_atomic(path, data)
    return len(data)


def load_tensor(path: Path) -> torch.Tensor | Fault:
    """Reads a tensor written by `save_tensor`, or returns the problem. No code from the file is executed."""
    import torch

    if not path.is_file():
        return Fault("missing_file", "not found")
    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError, KeyError) as error:
        return Fault("unreadable_file", f"cannot be read ({type(error).__name__})")
    if not isinstance(tensor, torch.Tensor):
        return Fault("not_a_tensor", f"holds a {type(tensor).__name__}")
    return tensor


def fault(path: Path, expected: TensorSpec) -> Fault | None:
    """The first problem of a file, or None: readable, bfloat16, expected shape, finite, in range."""
    tensor = load_tensor(path)
    return tensor if isinstance(tensor, Fault) else tensor_fault(tensor, expected)


def tensor_fault(tensor: torch.Tensor, expected: TensorSpec) -> Fault | None:
    """Same as `fault`, for a tensor in memory."""
    import torch

    if tensor.dtype != torch.bfloat16:
        return Fault("wrong_dtype", f"is {str(tensor.dtype).removeprefix('torch.')}, not bfloat16")
    shape = tuple(tensor.shape)
    if len(shape) != len(expected.shape) or any(e not in (None, n) for n, e in zip(shape, expected.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in expected.shape)
        return Fault("wrong_shape", f"has shape {shape}, not ({wanted})")
    if not bool(torch.isfinite(tensor).all()):
        return Fault("not_finite", "holds NaN or infinity")
    if expected.latents:
        parts = zip(("mean", "log-variance"), tensor.chunk(2, dim=1), (MEAN_RANGE, LOGVAR_RANGE), strict=True)
        for name, part, (low, high) in parts:
            least, most = float(part.min()), float(part.max())
            if least < low or most > high:
                return Fault("out_of_range", f"has a {name} from {least:.3g} to {most:.3g}, not {low:g} to {high:g}")
    return None
