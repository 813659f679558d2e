"""The scripts of `.ci`: what a command sees under `.ci/fresh`, and when the coverage floor is to be raised."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

PROBE = """
import ctypes, os, shutil
try:
    library = bool(ctypes.CDLL("libmount.so.1"))
except OSError:
    library = False
print(sorted(os.environ), shutil.which("git"), os.listdir(os.environ["HOME"]), library)
raise SystemExit(7)
"""
SEEN = "['HOME', 'LANG', 'PATH', 'TMPDIR'] None [] {}"


def fresh(root: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, "SECRET": "x"}
    command = [root / ".ci" / "fresh", "python3", "-c", PROBE]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)


@pytest.fixture
def outside() -> None:
    """The tests need what `.ci/fresh` hides, so they do not run under it."""
    for program in ("unshare", "mount", "git"):
        if not shutil.which(program):
            pytest.skip(f"the {program} program is not installed")
    try:
        ctypes.CDLL("libmount.so.1")
    except OSError:
        pytest.skip("libmount.so.1, the library to hide, is not installed")


@pytest.mark.usefixtures("outside")
def test_a_fresh_machine_shows_nothing_that_was_installed(root: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not permit mount namespaces")
    done = fresh(root, os.environ["PATH"])
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1] == SEEN.format(False)


@pytest.mark.usefixtures("outside")
def test_without_namespaces_it_says_what_is_still_visible(root: Path, tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    done = fresh(root, f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1] == SEEN.format(True)
    assert "libraries are NOT" in done.stderr
    assert "still visible: " in done.stderr


@pytest.mark.parametrize(
    ("total", "floor", "raised"), [("91.26", "90.5", "91.2"), ("91.0", "90.5", None), ("80", "90", None)]
)
def test_the_floor_rises_with_the_coverage(root: Path, total: str, floor: str, raised: str | None) -> None:
    spec = importlib.util.spec_from_file_location("floor", root / ".ci" / "floor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.new_floor(Decimal(total), Decimal(floor)) == (None if raised is None else Decimal(raised))
