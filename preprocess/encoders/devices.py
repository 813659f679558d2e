"""Which device and number format to encode with; apart from the encoder, because asking is faster than loading it.

Where there is no GPU, torch is not imported: that takes more than a second, which workers need for themselves.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from preprocess.encoders.spec import PRECISIONS, EncoderSpec, Precision
from preprocess.errors import UserError

_FRAMES_PER_BATCH = {"cpu": 32, "cuda": 256}
_AMD_GPUS = Path("/dev/kfd")


def choose_device(device: str) -> tuple[str, ...]:
    """`auto` is every CUDA device, else the CPU; any other value is checked and used as it is.

    Raises:
        UserError: torch cannot use the device here.
    """
    if device == "cpu" or (device == "auto" and not has_gpu_driver()):
        return ("cpu",)
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    if device == "auto":
        return ("cpu",)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used here", "Use --device auto, cpu, cuda or cuda:N.") from error
    return (device,)


@functools.cache
def has_gpu_driver() -> bool:
    """False where torch would find no GPU: on Linux, without NVIDIA's `libcuda.so.1` and AMD's `/dev/kfd`."""
    if sys.platform != "linux" or _AMD_GPUS.exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def choose_precision(precision: str, device: str, safe: Sequence[Precision] = PRECISIONS) -> Precision:
    """`auto` is bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32; int8 only if asked for.

    Args:
        precision: `auto` or a number format.
        device: A torch device.
        safe: Number formats that `auto` may choose; see `EncoderSpec.precisions`.

    Raises:
        UserError: There is no such number format.
    """
    if precision == "auto":
        fast: Precision = "fp32"
        if device.startswith("cuda"):
            import torch

            fast = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        elif cpu_multiplies_bf16():
            fast = "bf16"
        return fast if fast in safe else "fp32"
    for known in PRECISIONS:
        if precision == known:
            return known
    raise UserError(f"unknown precision {precision!r}", f"Use auto, {', '.join(PRECISIONS)}.")


def default_batch_size(spec: EncoderSpec, device: str) -> int:
    """Rows per forward pass where the user names none."""
    return spec.batch_size(_FRAMES_PER_BATCH["cpu" if device == "cpu" else "cuda"])


def cpu_multiplies_bf16() -> bool:
    """True where the CPU has AMX or AVX-512 instructions for bfloat16; without them bf16 is slower than fp32."""
    return not cpu_flags().isdisjoint({"amx_bf16", "avx512_bf16"})


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU as Linux names them, such as `amx_bf16`; none on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return frozenset()
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return frozenset(flags.split())
