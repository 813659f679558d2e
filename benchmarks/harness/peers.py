"""The environments of the peers: `make bench-peers` makes one for each `benchmarks/peers/<name>.txt`.

PEERS=/data/peers make bench-peers          # elsewhere than in .venv-peers
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = Path(os.environ.get("PEERS") or ROOT / ".venv-peers").absolute()
SCRIPTS = ROOT / "benchmarks" / "peers"


def peer_python(environment: str = "torch") -> str:
    """The interpreter of an environment, whether it is there or not."""
    return str(PEERS / environment / "bin" / "python")


@functools.cache
def why_absent(module: str, environment: str = "torch") -> str:
    """Why a peer cannot run; empty where it can be imported."""
    python = peer_python(environment)
    if not Path(python).is_file():
        return f"the environment {environment!r} does not exist; `make bench-peers` makes it"
    log = PEERS / environment / "failed.txt"
    if log.is_file():
        lines = log.read_text(encoding="utf-8").strip().splitlines()
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "")
        missing = f"does not install because {reason}"
    else:
        missing = "does not import because "
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    return missing if log.is_file() else missing + (done.stderr.strip().splitlines() or ["it ended"])[-1]
