"""Which device and number format to encode with. Apart from the encoder, because asking is quicker than loading it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch

from preprocess.errors import UserError

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def choose_device(device: str) -> tuple[str, ...]:
    """`auto` is every CUDA device, else the CPU; any other value is checked and taken as it is.

    Raises:
        UserError: The device is not one torch can use here.
    """
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    if device == "auto":
        return ("cpu",)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used here", "Use --device auto, cpu, cuda or cuda:N.") from error
    return (device,)


def choose_precision(precision: str, device: str) -> Precision:
    """`auto` is bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32."""
    if precision == "auto":
        if device.startswith("cuda"):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return "bf16" if cpu_multiplies_bf16() else "fp32"
    for known in PRECISIONS:
        if precision == known:
            return known
    raise UserError(f"unknown precision {precision!r}", f"Use auto, {', '.join(PRECISIONS)}.")


def cpu_multiplies_bf16() -> bool:
    """True where the CPU has AMX or AVX-512 instructions for bfloat16; without them bf16 is slower than fp32."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return bool({"amx_bf16", "avx512_bf16"} & set(flags.split()))
