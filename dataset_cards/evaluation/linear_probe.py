"""Linear probe: multinomial logistic regression from the mean vector of a video to its label, fit on the train split.

    minimize over W (C, D), b (C,):   1/N · Σ −log softmax(W x + b)[y]  +  1/(2 · C · N) · ‖W‖²,   C = 0.316

Settings of Radford et al., 2021, A.3, in the form used by LAION's temporal-embedding-aggregation
(`src/evaluation/linear_probe.py`): scikit-learn's LogisticRegression(C=0.316, max_iter=1000, random_state=0): L-BFGS.

scikit-learn holds several N × C arrays at once: 1.5 GB each for Kinetics-700 (536,489 × 700). Above `BLOCKWISE_FROM`,
or on a GPU, the same objective is minimized by the same L-BFGS, with the gradient summed over blocks of videos.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix
from dataset_cards.evaluation.metrics import Ranks, ranks

if TYPE_CHECKING:
    import torch

C = 0.316
MAX_ITER = 1000
TOLERANCE = 1e-4
BLOCKWISE_FROM = 50_000_000
"""N × C above which the blockwise solver is used; scikit-learn needs about 1 GB at this size."""


def probe_ranks(
    train: Matrix,
    train_labels: Sequence[str],
    tests: Sequence[tuple[Matrix, Sequence[str]]],
    seed: int = 0,
    device: str = "cpu",
) -> list[Ranks]:
    """Trains on train, and ranks the correct label of every video of the other splits.

    Args:
        train: `(N, D)` mean vectors.
        train_labels: `(N,)`, with at least two different labels.
        tests: Vectors and labels of the other splits. A label that does not occur in train has the rank infinity.
        seed: scikit-learn's `random_state`, which L-BFGS does not use; it is recorded with the result.
        device: Device of the blockwise solver.
    """
    classes, targets = np.unique(np.array(train_labels), return_inverse=True)
    if device != "cpu" or len(train) * len(classes) > BLOCKWISE_FROM:
        weights, bias = fit_blockwise(train, targets, len(classes), device=device)
    else:
        weights, bias = fit_sklearn(train, targets, seed)
    return [_test_ranks(vectors @ weights.T + bias, labels, classes) for vectors, labels in tests]


def fit_sklearn(
    vectors: Matrix, targets: NDArray[np.int64], seed: int = 0, max_iter: int = MAX_ITER
) -> tuple[Matrix, Matrix]:
    """Weights `(C, D)` and bias `(C,)` by scikit-learn; for two classes, two rows of opposite sign."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=max_iter, tol=TOLERANCE, random_state=seed)
    with warnings.catch_warnings():  # a small dataset has few samples per class
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
        model.fit(vectors, targets)
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    return weights.astype(np.float32), bias.astype(np.float32)


def fit_blockwise(
    vectors: Matrix,
    targets: NDArray[np.int64],
    n_classes: int,
    device: str = "cpu",
    block: int = 16_384,
    max_iter: int = MAX_ITER,
) -> tuple[Matrix, Matrix]:
    """The same regression with `block · C` scores in memory at a time, on a CPU or a GPU.

    Args:
        vectors: float32 `(N, D)`.
        targets: `(N,)` in `0 … n_classes - 1`.
        n_classes: Number of classes.
        device: A torch device.
        block: Number of videos whose scores are in memory at a time.
        max_iter: Maximum number of iterations.

    Returns:
        Weights `(C, D)` and bias `(C,)`.
    """
    import torch
    from scipy.optimize import minimize

    x = torch.from_numpy(vectors).to(device)
    y = torch.from_numpy(targets).to(device)
    dim = vectors.shape[1]

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = torch.from_numpy(flat.reshape(n_classes, dim + 1)).to(device, torch.float32)
        loss, gradient = _loss_and_gradient(x, y, parameters, block)
        weights = flat.reshape(n_classes, dim + 1)[:, :dim]
        strength = 1 / (C * len(vectors))
        gradient[:, :dim] += strength * weights
        return loss + 0.5 * strength * float((weights**2).sum()), gradient.ravel()

    # The options that sklearn.linear_model._logistic passes.
    options: dict[str, Any] = {
        "maxiter": max_iter,
        "maxls": 50,
        "gtol": TOLERANCE,
        "ftol": 64 * np.finfo(float).eps,
    }
    start = np.zeros(n_classes * (dim + 1))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(n_classes, dim + 1)
    return found[:, :dim].astype(np.float32), found[:, dim].astype(np.float32)


def _loss_and_gradient(
    x: torch.Tensor, y: torch.Tensor, parameters: torch.Tensor, block: int
) -> tuple[float, NDArray[np.float64]]:
    """Mean cross-entropy and its gradient `(C, D + 1)`, summed over blocks in float64."""
    import torch

    weights, bias = parameters[:, :-1], parameters[:, -1]
    gradient = torch.zeros_like(parameters, dtype=torch.float64)
    loss = torch.zeros((), dtype=torch.float64, device=x.device)
    for i in range(0, len(x), block):
        rows, right = x[i : i + block], y[i : i + block, None]
        logs = torch.log_softmax(torch.addmm(bias, rows, weights.T), dim=1)
        loss -= logs.gather(1, right).sum(dtype=torch.float64)
        error = logs.exp_()
        error.scatter_add_(1, right, error.new_full(right.shape, -1.0))
        gradient[:, :-1] += error.T @ rows
        gradient[:, -1] += error.sum(dim=0)
    return float(loss) / len(x), (gradient / len(x)).cpu().numpy()


def _test_ranks(scores: Matrix, labels: Sequence[str], classes: NDArray[np.str_]) -> Ranks:
    index = {label: i for i, label in enumerate(classes.tolist())}
    targets = np.array([index.get(label, -1) for label in labels])
    places = ranks(scores, np.maximum(targets, 0))
    places[targets < 0] = np.inf
    return places
