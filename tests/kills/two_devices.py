"""`python -m preprocess` on a machine with two devices, which are both the CPU: the engine that keeps GPUs busy."""

from __future__ import annotations

if __name__ == "__main__":
    from preprocess import interrupts

    interrupts.end_at_once()

from preprocess.__main__ import app
from preprocess.console import run

if __name__ == "__main__":
    from preprocess.encoders import devices

    devices.choose_device = lambda wanted: ("cpu", "cpu")
    run(app, "python -m preprocess")
