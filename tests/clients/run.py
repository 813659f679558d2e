"""Runs unmodified readers of other projects on a dataset of ours: `make clients`.

    webdataset          passed    3 s
    clip_video_encode   passed   21 s
    laion_wds           not run       not below CLIENTS_DIR, and git clone https://github.com/… failed

Each client is one file here, `check_<name>.py`, which declares at its top what it needs. It runs in an environment of
its own below `.venv-clients/`, called as `check_<name>.py <dataset> <expected.json> <checkout>`:

    REQUIREMENTS = ("webdataset", "numpy")              from PyPI
    REPOSITORY = "iejMac/clip-video-encode"             below CLIENTS_DIR, else cloned from GitHub; "" for none
    INHERIT = True                                      sees the project's own packages too (torch is large)

An unavailable client is reported as not run, and does not count as passed; the exit code is 1 if any failed.
"""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np

from preprocess.formats.splits import read_splits
from tests.builders.conftest import write_dataset

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TIMED = [{"caption_timestamps": None if i % 2 else [[0.0, 1.0], [1.0, 4.0]]} for i in range(8)]
"""Metadata of the dataset that is made here: every other sample has timed captions."""


@dataclass(frozen=True)
class Check:
    """One client: its file, and the constants at the file's top."""

    path: Path
    requirements: tuple[str, ...] = ()
    repository: str = ""
    inherit: bool = False

    @property
    def name(self) -> str:
        return self.path.stem.removeprefix("check_")


class NotRun(Exception):
    """The client is unavailable."""


def read_check(path: Path) -> Check:
    """Reads the constants without running the file: its imports are not installed here."""
    constants: dict[str, Any] = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("REQUIREMENTS", "REPOSITORY", "INHERIT"):
                constants[name.lower()] = ast.literal_eval(node.value)
    return Check(path, **constants)


def environment(check: Check) -> Path:
    """The Python of the client's own environment, created on first use."""
    folder = ROOT / ".venv-clients" / check.name
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"  # written last
    wanted = "\n".join((*check.requirements, str(check.inherit)))
    if not done.is_file() or done.read_text("utf-8") != wanted:
        venv.create(folder, with_pip=True, clear=True)
        if check.inherit:
            packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
            (packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        if check.requirements:
            command = [str(python), "-m", "pip", "install", "--quiet", *check.requirements]
            if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
                raise NotRun(f"pip install {' '.join(check.requirements)} failed")
        done.write_text(wanted, encoding="utf-8")
    return python


def checkout(check: Check) -> str:
    """The folder of the client's repository, or an empty string if it needs none."""
    if not check.repository:
        return ""
    given = os.environ.get("CLIENTS_DIR")
    folder = (Path(given) if given else ROOT / ".venv-clients" / "checkouts") / check.repository
    if not folder.is_dir():
        url = f"https://github.com/{check.repository}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = ["git", "clone", "--quiet", "--depth", "1", url, str(folder)]
        if not shutil.which("git"):
            raise NotRun("not below CLIENTS_DIR, and git is not installed")
        quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        if subprocess.run(command, env=quiet, stderr=subprocess.DEVNULL).returncode:
            raise NotRun(f"not below CLIENTS_DIR, and git clone {url} failed")
    return str(folder)


def expectation(folder: Path) -> dict[str, dict[str, Any]]:
    """Per split and id what the tars hold, read with `tarfile`, `np.load` and `json` alone."""
    expected: dict[str, dict[str, Any]] = {}
    for file, split in read_splits(folder / "splits.csv").items():
        parts: dict[str, dict[str, bytes]] = {}
        with tarfile.open(folder / file) as tar:
            for info in tar:
                id_, _, extension = info.name.partition(".")
                member = tar.extractfile(info)
                assert member is not None
                parts.setdefault(id_, {})[extension] = member.read()
        of_split = expected.setdefault(split, {})
        for id_, part in parts.items():
            vectors = np.load(io.BytesIO(part["npy"])).astype(np.float64)
            of_split[id_] = {
                "shape": vectors.shape,
                "sum": vectors.sum(),
                "text": part["txt"].decode(),
                "meta": json.loads(part["json"]),
            }
    return expected


def main() -> int:
    """Runs all clients, or those named; if the first argument is a folder, it is the dataset to read."""
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        if arguments and Path(arguments[0]).is_dir():
            folder = Path(arguments.pop(0)).resolve()
        else:
            folder = write_dataset(Path(temporary) / "CLIP-Shapes", dim=512, own=TIMED)
        expected = Path(temporary) / "expected.json"
        expected.write_text(json.dumps(expectation(folder)), encoding="utf-8")
        failed = 0
        for path in sorted(HERE.glob("check_*.py")):
            check = read_check(path)
            if arguments and check.name not in arguments:
                continue
            print(f"{check.name:24}", end="", flush=True)
            start = time.monotonic()
            try:
                command = [str(environment(check)), str(path), str(folder), str(expected), checkout(check)]
            except NotRun as reason:
                print(f"not run  {reason}")
                continue
            # Run outside the project's root, so that the project's packages cannot be imported.
            done = subprocess.run(command, cwd=temporary, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            failed += done.returncode != 0
            print(f"{'failed' if done.returncode else 'passed'}  {time.monotonic() - start:4.0f} s")
            if done.returncode:
                print("    " + done.stdout.strip().replace("\n", "\n    "))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
