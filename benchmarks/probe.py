"""The linear probe on features of Kinetics' shape: seconds per step of L-BFGS and peak memory of both solvers.

    .venv/bin/python benchmarks/probe.py [samples] [steps]

`samples` is 20,000 by default; Kinetics-700's train split is 536489, with 512 dimensions and 700 classes. Each solver
runs in a process of its own, so that the peak is its own; the features themselves are part of it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from dataset_cards.evaluation.features import Matrix
from dataset_cards.evaluation.linear_probe import fit_blockwise, fit_sklearn
from preprocess.console import table

DIM, CLASSES = 512, 700


def features(samples: int) -> tuple[Matrix, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Vectors around one centre per class, and their classes."""
    rng = np.random.default_rng(0)
    targets = np.arange(samples) % CLASSES
    vectors = rng.standard_normal((samples, DIM), dtype=np.float32)
    centres = rng.standard_normal((CLASSES, DIM), dtype=np.float32)
    for i in range(0, samples, 65_536):
        vectors[i : i + 65_536] += 0.3 * centres[targets[i : i + 65_536]]
    return vectors, targets


def measure(solver: str, samples: int, steps: int, device: str) -> None:
    """Prints seconds and peak memory of one solver as JSON."""
    vectors, targets = features(samples)
    start = time.perf_counter()
    if solver == "scikit-learn":
        fit_sklearn(vectors, targets, max_iter=steps)
    else:
        fit_blockwise(vectors, targets, CLASSES, device=device, max_iter=steps)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def main() -> None:
    """Runs every solver that this machine can run."""
    import torch

    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print(f"{samples:,} × {DIM} features of {CLASSES} classes, {steps} steps")
    runs = [("scikit-learn", "cpu"), ("blockwise", "cpu")]
    if torch.cuda.is_available():
        runs.append(("blockwise", "cuda"))
    rows: list[tuple[object, ...]] = [("solver", "device", "seconds a step", "peak GB")]
    for solver, device in runs:
        command = [sys.executable, "-W", "ignore", __file__, "--one", solver, str(samples), str(steps), device]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            rows.append((solver, device, "failed", f"exit code {ran.returncode}"))
            continue
        found = json.loads(ran.stdout.splitlines()[-1])
        rows.append((solver, device, f"{found['seconds'] / steps:.2f}", f"{found['peak'] / 1e9:.2f}"))
    print(table(rows, right=frozenset({2, 3})))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        main()
