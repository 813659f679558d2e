"""Versions that decide the bytes."""

from __future__ import annotations

import platform
from pathlib import Path

from preprocess.pipeline.settings import library_versions
from preprocess.versions import _digest, all_versions, difference


def test_the_first_difference_is_named() -> None:
    here = all_versions()
    assert here["python"] == platform.python_version()
    assert library_versions().items() <= here.items()
    assert difference(here, here) is None
    assert difference({**here, "torch": "0.1"}, here) == f"torch 0.1 there, {here['torch']} here"
    assert (
        difference({name: here[name] for name in here if name != "av"}, here) == f"av unknown there, {here['av']} here"
    )


def test_the_digest_is_of_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("x = 1")
    first = _digest(tmp_path)
    (tmp_path / "notes.txt").write_text("of no concern")
    assert _digest(tmp_path) == first
    (tmp_path / "inner" / "a.py").write_text("x = 2")
    assert _digest(tmp_path) != first
    (tmp_path / "inner" / "a.py").write_text("x = 1")
    (tmp_path / "inner" / "a.py").rename(tmp_path / "inner" / "b.py")
    assert _digest(tmp_path) != first
