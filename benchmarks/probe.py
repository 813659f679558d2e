"""The linear probe on features of Kinetics' shape, by both solvers: seconds of some steps of L-BFGS, and memory.

    .venv/bin/python benchmarks/probe.py [--samples 20000] [--steps 5] [--rounds 3]

The features have 512 dimensions and 700 classes; `--samples 20000 536489` adds the train split of Kinetics-700. Ours is
the solver that sums the gradient over blocks of videos; the peer is scikit-learn. Seconds are those of the steps,
without imports; the memory includes the features. The loss is the mean cross-entropy of some of the features after
these steps.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.rounds import Bench, Command
from dataset_cards.evaluation.features import Matrix
from dataset_cards.evaluation.linear_probe import fit_blockwise, fit_sklearn

DIM, CLASSES = 512, 700
JUDGED = 10_000
"""Features whose loss is taken: the scores of all of them would be what takes the most memory."""


def features(samples: int) -> tuple[Matrix, NDArray[np.int64]]:
    """Vectors around one center per class, and their classes."""
    rng = np.random.default_rng(0)
    targets = np.arange(samples) % CLASSES
    vectors = rng.standard_normal((samples, DIM), dtype=np.float32)
    centers = rng.standard_normal((CLASSES, DIM), dtype=np.float32)
    for i in range(0, samples, 65_536):
        vectors[i : i + 65_536] += 0.3 * centers[targets[i : i + 65_536]]
    return vectors, targets


def fit(solver: str, samples: int, steps: int) -> None:
    """Fits by `scikit-learn`, or by blocks on a device of torch; prints how long that took."""
    from scipy.special import logsumexp

    for module in ("torch", "scipy.optimize", "sklearn.linear_model"):
        importlib.import_module(module)  # now, and not while the clock runs
    vectors, targets = features(samples)
    began = time.perf_counter()
    if solver == "scikit-learn":
        weights, bias = fit_sklearn(vectors, targets, max_iter=steps)
    else:
        weights, bias = fit_blockwise(vectors, targets, CLASSES, device=solver, max_iter=steps)
    seconds = time.perf_counter() - began
    scores = vectors[:JUDGED] @ weights.T + bias
    right = np.take_along_axis(scores, targets[:JUDGED, None], axis=1)
    loss = np.mean(logsumexp(scores, axis=1, keepdims=True) - right)
    print(json.dumps({"seconds": seconds, "facts": {"loss": float(loss)}}))


def measure(bench: Bench, samples: int, steps: int) -> None:
    """One case for one number of samples."""
    import torch

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    task = [sys.executable, str(Path(__file__).resolve()), "--fit"]
    given = [str(samples), str(steps)]
    contenders = [Command(f"ours on {device}", "ours", [*task, device, *given]) for device in devices]
    contenders.append(Command("scikit-learn", "peer", [*task, "scikit-learn", *given]))
    title = f"linear probe, {samples:,} features of {CLASSES} classes, {steps} steps"
    case = bench.case(title, "steps", steps, contenders, show="seconds")
    for one in case.contenders:
        if one.runs:
            case.figures[f"loss, {one.name}"] = one.facts["loss"]


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--fit", solver, samples, steps]:
            fit(solver, int(samples), int(steps))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--samples", type=int, nargs="+", default=[20_000])
            parser.add_argument("--steps", type=int, default=5)
            bench, options = Bench.from_arguments("probe", parser, packages=("scikit-learn", "scipy"))
            with bench:
                for samples in options.samples:
                    measure(bench, samples, options.steps)
                bench.write()


if __name__ == "__main__":
    main()
