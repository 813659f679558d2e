"""`make build DATASET=demo`, as the README has it: what it prints opens, and its numbers are those of the example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def build(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output folder and what the build printed. `-o setup`: the environment is the one the tests run in."""
    out = tmp_path_factory.mktemp("data")
    command = [
        "make",
        "--no-print-directory",
        "-o",
        "setup",
        f"PY={sys.executable}",
        "build",
        "DATASET=demo",
        f"OUT={out}",
    ]
    command.append("ARGS=--precision fp32")  # the same numbers on CPUs with and without bf16
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return out, done.stdout


def test_the_printed_python_loads_three_splits(build: tuple[Path, str], tmp_path: Path) -> None:
    _, printed = build
    lines = printed.splitlines()[-2:]
    assert lines[0] == "from datasets import load_dataset"
    code = "\n".join([*lines, "print({s: (dataset[s].num_rows, dataset[s][0]['npy'].shape[1]) for s in dataset})"])
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=280)
    assert done.stdout.splitlines()[-1:] == ["{'train': (58, 512), 'validation': (22, 512), 'test': (44, 512)}"]


def test_the_table_tells_what_was_made(build: tuple[Path, str]) -> None:
    rows = [re.split(r"\s+", line.strip()) for line in build[1].splitlines()]
    assert ["total", "124", "124", "0", "0", "725", "3", "1.1", "MB"] in rows
    assert any(line.endswith("124 samples, 725 frames in 3 tars: OK") for line in build[1].splitlines())


def test_the_test_split_is_neither_easy_nor_hopeless(build: tuple[Path, str]) -> None:
    evaluation = json.loads((build[0] / "work" / "CLIP-Shapes" / "evaluation.json").read_bytes())
    assert evaluation["zero_shot"]["classes"] == 54
    assert 0.6 < evaluation["zero_shot"]["splits"]["test"]["frame"]["top1"] < 0.95
    moments = evaluation["moments"]["splits"]["test"]
    assert moments["queries"] == 44
    assert moments["chance"]["R@1"]["0.5"] < 0.3 < 0.6 < moments["R@1"]["0.5"]


def test_the_committed_example_is_what_the_build_gives(build: tuple[Path, str], root: Path) -> None:
    command = [sys.executable, "-m", "tests.cards.example", str(build[0] / "CLIP-Shapes")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
