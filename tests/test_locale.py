"""A locale that is not UTF-8: file names are read as UTF-8 all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("mode", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["C", "C, forced"])
def test_names_are_utf8_in_every_locale(root: Path, tmp_path: Path, mode: dict[str, str]) -> None:
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", **mode}
    out = tmp_path / "数据 ü"
    command = [sys.executable, "-m", "preprocess", "where", "demo", "--out", out]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{out / 'CLIP-Shapes'}\n"
    raw = tmp_path / "ünï"
    command = [sys.executable, "-m", "preprocess", "samples", "folder", "--raw", raw, "--out", out]
    refused = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=100)
    assert (refused.returncode, str(raw) in refused.stderr.decode()) == (2, True)
