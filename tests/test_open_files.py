"""A dataset has more tars than a process may have files open: by default 1,024, which 10 million samples exceed."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

import preprocess.__main__
from tests.builders.conftest import write_dataset

TARS = 124  # one for each sample of the demo
LIMIT = 100

COMMANDS = """
import sys

import builders.__main__
import dataset_cards.__main__
import explorer.__main__
import preprocess.__main__

out, cache = sys.argv[1:]
dataset = f"{out}/CLIP-Shapes"
for app, *command in (
    (dataset_cards.__main__.app, "evaluate", "demo", "--out", out),
    (dataset_cards.__main__.app, "card", "demo", "--out", out),
    (preprocess.__main__.app, "recheck", "demo", "--out", out, "-n", "120", "--workers", "1"),
    (explorer.__main__.app, "filter", dataset, "--name", "Some", "--out", out, "--sample", "110", "--cache", cache),
    (builders.__main__.app, "diff", dataset, f"{out}/Some"),
    (builders.__main__.app, "verify", f"{out}/Some"),
):
    try:
        app(command)
    except SystemExit as end:
        print("exit code of", command[0], end.code)
"""

EXIT_CODES = ("evaluate 0", "card 0", "recheck 0", "filter 0", "diff 1", "verify 0")

READ = """
import sys
from builders.torch_reader import EmbeddingReader

reader = EmbeddingReader(sys.argv[1], batch_size=16, shuffle=True)
for batches in (reader, reader.loader(num_workers=1), reader):
    print(len(reader.shards), sum(len(batch["key"]) for batch in batches))
"""


def run(root: Path, code: str, *arguments: object) -> list[str]:
    """The lines that a script prints, with `LIMIT` open files."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=root,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_commands(root: Path, tmp_path: Path) -> None:
    build = ["build", "demo", "--out", str(tmp_path), "--per-shard", "1", "--precision", "fp32", "--workers", "1"]
    done = CliRunner().invoke(preprocess.__main__.app, build, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("CLIP-Shapes/*.tar"))) == TARS
    lines = run(root, COMMANDS, tmp_path, tmp_path / "cache")
    ended = [line for line in lines if line.startswith("exit code of ")]
    assert ended == [f"exit code of {one}" for one in EXIT_CODES], lines
    assert "120 samples encoded again, 0 differ" in lines


def test_batches(root: Path, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "CLIP-Shapes", {"train": 2 * LIMIT}, per_shard=1)
    assert run(root, READ, folder) == [f"{2 * LIMIT} {2 * LIMIT}"] * 3
