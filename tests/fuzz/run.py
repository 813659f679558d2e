"""Fuzzes the parsers with atheris, which follows the branches that an input takes; `python -m tests.fuzz.run --help`.

    python -m tests.fuzz.run --runs 100000              # every target, each in a process of its own
    python -m tests.fuzz.run npy tar --runs 1000000     # two of them

An input that makes a target raise anything but an error of ours, hang or take too much memory is written below --out;
add it to `FOUND` in `tests/fuzz/corpus.py`, and fix the parser.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from random import Random

TIMEOUT_S = 30
MEMORY_MB = 3072


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="target", help="names in tests/fuzz/targets.py; all by default")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs per target (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the inputs that fail (a temporary one)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("atheris is not installed; it has wheels for Linux on x86-64 only (requirements-dev.txt)")
    out = options.out or Path(tempfile.mkdtemp(prefix="fuzz-found-"))
    if options.one:
        fuzz(options.one, options.runs, out)
    from tests.fuzz.targets import TARGETS

    out.mkdir(parents=True, exist_ok=True)
    # Most targets write a small file per input: in memory, that takes a third of the time.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() and "TMPDIR" not in os.environ else None
    failed = False
    for name in options.targets or TARGETS:
        one = ["--one", name, "--runs", str(options.runs), "--out", str(out)]
        command = [sys.executable, "-m", "tests.fuzz.run", *one]
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as scratch:  # libFuzzer ends without cleaning up
            environment = {**os.environ, "TMPDIR": scratch}
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
        runs = [line for line in done.stdout.splitlines() if line.startswith("Done ")]
        print(f"{name:24} {runs[-1] if runs else 'FAILED'}", flush=True)
        if done.returncode or not runs:
            failed = True
            print(done.stdout[-6000:], flush=True)
    return int(failed)


def fuzz(name: str, runs: int, out: Path) -> None:
    """Fuzzes one target; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["preprocess", "builders", "dataset_cards"]):
        from preprocess.errors import EmbeddingDatasetError
        from tests.fuzz.corpus import corpus
        from tests.fuzz.documents import mutate_document
        from tests.fuzz.targets import TARGETS

    logging.disable(logging.WARNING)  # recipes warn of odd annotations, 100,000 times over

    def one_input(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except EmbeddingDatasetError as error:
            str(error).encode()

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        return mutate_document(data, random)[:most] if random.random() < 0.5 else atheris.Mutate(data, most)

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus(name).values()):
            if len(data) <= 8192:
                Path(folder, str(number)).write_bytes(data)
        arguments = [f"-runs={runs}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}", "-max_len=8192"]
        arguments += [f"-artifact_prefix={out}/{name}-", "-print_final_stats=1", folder]
        atheris.Setup([sys.argv[0], *arguments], one_input, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
