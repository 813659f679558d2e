"""The engines that run an encoder's forward pass, by name: `torch`, and `openvino` for CPUs.

check_engine("openvino")             # "openvino", if it is installed
engine_device("openvino", "auto")    # "cpu"
"""

from __future__ import annotations

import importlib.util
from typing import Literal, get_args

from preprocess.encoders.spec import FLOATS, Precision
from preprocess.errors import UnknownNameError, UserError

Engine = Literal["torch", "openvino"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

_PRECISIONS: dict[Engine, tuple[Precision, ...]] = {"torch": FLOATS, "openvino": ("fp32", "bf16", "int8")}


def check_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        UnknownNameError: There is none.
        UserError: It is not installed.
    """
    engine = next((known for known in ENGINES if known == name), None)
    if engine is None:
        raise UnknownNameError("engine", name, ENGINES)
    if engine != "torch" and importlib.util.find_spec(engine) is None:
        raise UserError(
            f"engine {name!r} is not installed",
            f"Run pip install -r requirements-{name}.txt, or install video-embedding-datasets[{name}].",
        )
    return engine


def check_engine_precision(engine: Engine, precision: str) -> None:
    """Refuses a number format that the engine does not compute in; `auto` is none of them.

    Raises:
        UserError: As said.
    """
    if precision not in ("auto", *_PRECISIONS[engine]):
        others = [other for other, formats in _PRECISIONS.items() if precision in formats]
        raise UserError(
            f"engine {engine!r} does not compute in {precision}",
            f"Use --engine {' or '.join(others)}, or --precision {' or '.join(_PRECISIONS[engine])}.",
        )


def engine_device(engine: Engine, device: str) -> str:
    """The device to choose from: `auto` is the CPU for an engine that runs on nothing else.

    Raises:
        UserError: The engine does not run on the device.
    """
    if engine == "torch" or device == "cpu":
        return device
    if device == "auto":
        return "cpu"
    raise UserError(f"engine {engine!r} runs on CPUs only, not on {device!r}", "Use --device cpu, or --engine torch.")
