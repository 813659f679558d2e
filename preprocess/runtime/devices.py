"""On which devices the actors of a cluster run a model."""

from __future__ import annotations

import dataclasses

from preprocess.errors import UserError
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Machine


def for_devices(options: RunOptions, machine: Machine) -> RunOptions:
    """The options for a cluster, where `auto` is its GPUs, if it has any and actors may take them.

    Args:
        options: Those of the user.
        machine: The largest actor that fits on the cluster.

    Raises:
        UserError: A GPU is asked for, and the cluster has none, or actors may take none.
    """
    gpus = 0 if options.gpus_per_actor == 0 else machine.gpus
    if options.device == "cpu" or (options.device == "auto" and not gpus):
        return dataclasses.replace(options, device="cpu", gpus_per_actor=0)
    if not gpus:
        raise UserError(f"actors have no GPU for --device {options.device}", "Use --device auto or cpu.")
    return dataclasses.replace(options, gpus_per_actor=options.gpus_per_actor or 1)


def devices_of_actor(options: RunOptions) -> tuple[str, ...]:
    """What an actor calls its devices, given what `for_devices` returned."""
    return tuple(f"cuda:{i}" for i in range(options.gpus_per_actor or 0)) or ("cpu",)
