"""What is shown while something loads, and that it is shown on a terminal alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from preprocess import console
from tests.recipes.fixtures import didemo

BUILD = ("-m", "preprocess", "encode", "folder", "--model", "tiny-clip", "--executor", "inline")


def on_a_terminal(command: list[str], root: Path) -> str:
    """What a command writes to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    read = b""
    try:
        while block := os.read(ours, 1 << 16):
            read += block
    except OSError:  # the other end was closed: how Linux says it
        pass
    os.close(ours)
    assert done.wait(timeout=200) == 0, read
    return read.decode()


def test_a_build_says_what_it_waits_for(root: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "raw").mkdir()
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "raw" / "a.png")
    command = [sys.executable, *BUILD, "--raw", str(tmp_path / "raw"), "--out"]
    shown = on_a_terminal([*command, str(tmp_path / "a")], root)
    order = [shown.index(text) for text in ("reading the settings", "listing the samples", "loading the model")]
    assert order == sorted(order)
    assert shown.count("\x1b[K") >= 3, "each line is erased before the next"
    piped = subprocess.run([*command, str(tmp_path / "b")], cwd=root, capture_output=True, text=True, timeout=200)
    assert (piped.returncode, piped.stderr) == (0, "")


HOSTILE = "a\x1b]0;title\x07\x9b2Jb\u202egpj.\u2066c\x00\x7f\r\nd\u2028e\udc80"
"""An escape sequence, an 8-bit one, marks that turn text round, line ends, and a byte that is not UTF-8."""


def test_a_warning_about_annotations_is_escaped(root: Path, tmp_path: Path) -> None:
    """Recipes log what they leave out, with names from the annotations."""
    raw = didemo.make(tmp_path / "raw")
    with (raw / "val_list.txt").open("a", encoding="utf-8") as file:
        file.write("\x1b[2J\x9bnobody\u202e.mov\n")
    command = [sys.executable, "-m", "preprocess", "annotations", "didemo", "--raw", str(raw)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert r"1 videos have no description, first \x1b[2J\x9bnobody\u202e.mov" in done.stderr
    assert is_harmless(done.stdout + done.stderr)


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text.replace("\n", ""))


def test_hostile_text_does_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_harmless(HOSTILE)
    assert is_harmless(console.printable(HOSTILE))
    assert "\n" not in console.printable(HOSTILE)
    assert console.printable("“Über” 赤い 🎬 é") == "“Über” 赤い 🎬 é"
    rows = console.table([(HOSTILE, 1), ("b", 2)])
    assert is_harmless(rows)
    assert rows.count("\n") == 1
    with pytest.raises(SystemExit):
        console.fail(HOSTILE)
    message = capsys.readouterr().err
    assert is_harmless(message)
    assert message.count("\n") == 1
