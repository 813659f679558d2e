"""The environments of the peers: `make bench-peers` makes one for each `benchmarks/peers/<name>.txt`.

PEERS=/data/peers make bench-peers          # elsewhere than in .venv-peers
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = Path(os.environ.get("PEERS") or ROOT / ".venv-peers").absolute()
SCRIPTS = ROOT / "benchmarks" / "peers"


def peer_python(environment: str = "torch") -> str:
    """The interpreter of an environment, whether it is there or not."""
    return str(PEERS / environment / "bin" / "python")


def link_ffmpeg(folder: Path, environment: str = "torch") -> dict[str, str]:
    """Gives torchcodec the FFmpeg that PyAV's wheel brings, by the names that it looks for.

    So both decode with the same FFmpeg, and none has to be installed on the machine.

    Returns:
        The variables of a process that is to find it; none where PyAV is not installed.
    """
    bundled = next((PEERS / environment / "lib").glob("python*/site-packages/av.libs"), None)
    if bundled is None:
        return {}
    folder.mkdir(exist_ok=True)
    for path in bundled.iterdir():
        if found := re.fullmatch(r"(lib(?:av|sw)\w+)-[0-9a-f]+(\.so\.\d+)[.\d]*", path.name):
            (folder / "".join(found.groups())).symlink_to(path)
    return {"LD_LIBRARY_PATH": f"{folder}:{bundled}"}


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


def why_missing(module: str, requirements: str) -> str:
    """Why an optional package of the project cannot be used; empty where it is installed.

    Args:
        module: What is imported.
        requirements: The file that installs it.
    """
    return "" if importlib.util.find_spec(module) else f"{module} is not installed ({requirements})"
