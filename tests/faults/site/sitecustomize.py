"""Found by every Python process of a command that is started with this folder on PYTHONPATH."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("injected_faults", Path(__file__).resolve().parent.parent / "hook.py")
assert spec is not None
assert spec.loader is not None
hook = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = hook  # dataclasses look their module up
spec.loader.exec_module(hook)
hook.install_from_environment()
