"""Has some samples of a folder encoded again and compared, by `python -m preprocess recheck`.

Builders know shards and nothing of video, so that is another process: its lines become findings.

    sample_vectors  ds_00000.tar: vid_00012.npy: 'video7010': row 2 of 10 has cosine 0.31207, expected at least 0.999
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from builders.findings import Finding
from preprocess.errors import UserError
from preprocess.formats.layout import Layout, read_json

ROOT = Path(__file__).resolve().parent.parent
_LINE = re.compile(r"(sample_[a-z]+)  (\S+: \S+): (.*)")


def encode_again(
    folder: Path, n: int, *, dataset: str | None = None, raw: str | None = None, workers: int = 1
) -> tuple[list[Finding], str]:
    """What differs from what the raw files give, and a line that says how many samples were compared.

    Args:
        folder: A packed dataset.
        n: Samples to encode.
        dataset: Name of the recipe; where None, as the work folder beside the dataset's says.
        raw: Raw folder or table; where None, that of the build.
        workers: Processes.

    Raises:
        UserError: The recipe is not known, or the samples could not be encoded; the other process has said why.
    """
    folder = folder.absolute()
    dataset = dataset or read_json(Layout(folder.parent, folder.name).source).get("dataset")
    if dataset is None:
        raise UserError(f"nothing beside {folder} says which recipe it was made by", "Name it: --dataset.")
    command = [sys.executable, "-m", "preprocess", "recheck", dataset, "-n", str(n), "--workers", str(workers)]
    command += ["--out", str(folder.parent), "--name", folder.name]
    if raw is not None:
        command += ["--raw", str(Path(raw).expanduser().absolute())]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    findings = [Finding(match[2], match[1], match[3]) for match in map(_LINE.fullmatch, lines) if match]
    # A process that broke down ends with 1 as well, but has found nothing and sums nothing up.
    if done.returncode != int(bool(findings)) or len(lines) != len(findings) + 1:
        raise UserError(f"the samples could not be encoded again (exit code {done.returncode})", "See the line above.")
    return findings, lines[-1]
