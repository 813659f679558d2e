"""Versions of what decides the bytes: recorded in a dataset, and compared between the machines of a cluster.

{"av": "18.1.0", "numpy": "2.4.6", "pillow": "12.3.0", "torch": "2.13.0", …}
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path


def library_versions(*engines: str) -> dict[str, str]:
    """Versions of the libraries that decide the bytes: decoder, resize, model, and engines other than torch."""
    names = ("av", "numpy", "pillow", "torch", "transformers", *engines)
    return {name: importlib.metadata.version(name).split("+")[0] for name in names}


@functools.cache
def all_versions() -> Mapping[str, str]:
    """Those of Python and the libraries, and a digest of the code of this package, whatever it is called."""
    return {"python": platform.python_version(), **library_versions(), "preprocess": _digest(Path(__file__).parent)}


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str | None:
    """The first difference between two machines, in words; None if there is none.

    Examples:
        >>> difference({"torch": "2.8.0"}, {"torch": "2.9.1"})
        'torch 2.8.0 there, 2.9.1 here'
    """
    for name, version in here.items():
        if there.get(name) != version:
            return f"{name} {there.get(name, 'unknown')} there, {version} here"
    return None


def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
