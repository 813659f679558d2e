"""Device selection: all GPUs of a machine, one per rank under torchrun, or the CPU.

`torchrun --nproc-per-node 8 -m preprocess long-video latents …` starts eight processes; each reads its rank from
the environment and processes every eighth episode. Without torchrun, one process drives one worker per GPU.
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
"""Names of torch dtypes, by precision."""

_REMEDY = "Unset them, or start with torchrun."

_claims: list[IO[str]] = []


@dataclass(frozen=True, slots=True)
class Rank:
    """The rank of this process among those that share the work.

    Attributes:
        index: Global rank, from 0.
        world: Number of ranks.
        local: Rank on this machine, which is also the index of its GPU.
    """

    index: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Rank:
        """Reads the variables set by torchrun: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`.

        Raises:
            UserError: A value is not a number, or the values are inconsistent.
        """
        try:
            rank = cls(*(int(environment.get(n, d)) for n, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))))
        except ValueError as error:
            raise UserError(f"RANK, WORLD_SIZE or LOCAL_RANK is not a number ({error})", _REMEDY) from None
        if not 0 <= rank.index < rank.world or rank.local < 0:
            raise UserError(
                f"RANK {rank.index}, LOCAL_RANK {rank.local} and WORLD_SIZE {rank.world} are inconsistent", _REMEDY
            )
        return rank

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every `world`-th item, starting at this rank's index."""
        return items[self.index :: self.world]


def choose_devices(device: str, rank: Rank) -> tuple[str, ...]:
    """The devices of this process: one under several ranks, else all that `device` names.

    Raises:
        UserError: The device is unavailable.
    """
    from preprocess.encoders.devices import choose_device

    devices = choose_device(device)
    if rank.world > 1 and devices[0].startswith("cuda") and device in ("auto", "cuda"):
        return (devices[rank.local % len(devices)],)
    return devices


def claim_device(devices: Sequence[str], claims: Path) -> str:
    """Claims a device that no other worker holds, for the lifetime of this process.

    Args:
        devices: One entry per worker; a device may occur several times.
        claims: A folder of lock files shared by the workers of one run. The lock of a dead worker is released, so its
            replacement claims the same device.
    """
    for number, device in enumerate(devices):
        claim = (claims / f"{number}.lock").open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            continue
        _claims.append(claim)  # closing the file would release the device
        return device
    raise RuntimeError(f"more workers than devices: {devices}")
