"""Python imports this module at its start where this folder is in PYTHONPATH: the clock is wrong by `CLOCK_OFF_S`."""

from __future__ import annotations

import os
import time

if offset := float(os.environ.get("CLOCK_OFF_S", "0")):
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + offset
    time.time_ns = lambda: now_ns() + round(offset * 1e9)
