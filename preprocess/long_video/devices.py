"""Which device a process uses: all GPUs of a machine, one per rank under torchrun, or the CPU.

`torchrun --nproc-per-node 8 -m preprocess long-video latents …` starts eight processes; each sees its number in the
environment and takes every eighth episode. Without torchrun one process drives a worker per GPU.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from preprocess.errors import UserError

T = TypeVar("T")

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Names of torch's number formats, by precision."""

_REMEDY = "Unset them, or start with torchrun."

_claims: list[IO[str]] = []


@dataclass(frozen=True, slots=True)
class Rank:
    """This process among those that share the work.

    Attributes:
        index: From 0.
        world: How many there are.
        local: Its number on this machine, which is its GPU's.
    """

    index: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Rank:
        """Reads what torchrun sets: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`.

        Raises:
            UserError: They contradict each other.
        """
        try:
            rank = cls(*(int(environment.get(n, d)) for n, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))))
        except ValueError as error:
            raise UserError(f"RANK, WORLD_SIZE or LOCAL_RANK is no number ({error})", _REMEDY) from None
        if not 0 <= rank.index < rank.world or rank.local < 0:
            raise UserError(f"RANK {rank.index}, LOCAL_RANK {rank.local} and WORLD_SIZE {rank.world} clash", _REMEDY)
        return rank

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every `world`-th item, beginning with this rank's own."""
        return items[self.index :: self.world]


def choose_devices(device: str, rank: Rank) -> tuple[str, ...]:
    """The devices of this process: with several ranks that of this one, else all that `device` names.

    Raises:
        UserError: The device cannot be used here.
    """
    from preprocess.encoders.devices import choose_device

    devices = choose_device(device)
    if rank.world > 1 and devices[0].startswith("cuda") and device in ("auto", "cuda"):
        return (devices[rank.local % len(devices)],)
    return devices


def claim_device(devices: Sequence[str], claims: Path) -> str:
    """Takes a device that no other worker holds, for the life of this process.

    Args:
        devices: One for each worker; the same device may be there several times.
        claims: An empty folder that the workers of one run share. The lock of a dead worker falls to its successor.
    """
    for number, device in enumerate(devices):
        claim = (claims / f"{number}.lock").open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            continue
        _claims.append(claim)  # closing it would let the device go
        return device
    raise RuntimeError(f"more workers than devices: {devices}")
