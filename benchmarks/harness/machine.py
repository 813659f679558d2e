"""What the numbers depend on: the machine and the versions of each environment."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_fp16", "avx512f", "avx2")
PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "av",
    "pyarrow",
    "openvino",
    "webdataset",
    "datasets",
    "daft",
    "dinotool",
    "clip-video-encode",
    "open-clip-torch",
    "torchcodec",
    "decord",
    "opencv-python-headless",
    "litdata",
)
"""Those whose versions every result keeps."""

VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def machine() -> dict[str, Any]:
    """CPU, cores, memory, and the GPUs if there are any."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {
        "cpu": facts.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in facts.get("flags", "").split()],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the GPUs as `nvidia-smi` prints them; empty if it is not installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    done = subprocess.run([program, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def versions(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Python and those of the packages that an environment has."""
    done = subprocess.run([python, "-c", VERSIONS, *packages], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
