"""MTEB's own runner evaluates a packed dataset by the code of the README; its scores equal those computed here.

The dataset has vectors near those of its captions, so that there is something to find; the text tower is `tiny-clip`.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

REQUIREMENTS = ("mteb>=2.20",)
INHERIT = True

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # the tasks are part of the project
from exported import read_samples  # noqa: E402

from preprocess.encoders import load_text_tower  # noqa: E402
from preprocess.encoders.models import resolve  # noqa: E402
from tests.builders import conftest  # noqa: E402

LABELS = ("red circle", "blue ring", "green cross")
COUNTS = {"train": 30, "val": 1, "test": 15}
tower = load_text_tower(resolve("tiny-clip"))


def unit(rows: Any) -> np.ndarray[Any, Any]:
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def labeled(split: Any, i: int, own: Any = (), make: Any = conftest.sample) -> Any:
    label = LABELS[i % len(LABELS)]
    return replace(make(split, i), label=label, captions=(f"a {label} moving left, number {i}",))


def near(split: Any, i: int, dim: int, dtype: str) -> np.ndarray[Any, Any]:
    (text,) = tower.encode(labeled(split, i).captions)
    noise = np.random.default_rng([i, len(split)]).standard_normal((conftest.rows(split, i), dim))
    return (text + 0.03 * noise).astype(dtype)


def scores(result: Any) -> dict[str, dict[str, float]]:
    return {one.task_name.rpartition("-")[2]: one.scores["test"][0] for one in result.task_results}


with TemporaryDirectory() as temporary:
    os.chdir(temporary)
    conftest.sample, conftest.vectors = labeled, near  # type: ignore[assignment]
    conftest.ENCODING["encoder"]["weights_sha256"] = resolve("tiny-clip").sha256()  # type: ignore[index]
    folder = conftest.write_dataset(Path("data/CLIP-Shapes"), COUNTS, per_shard=20, dim=512)  # type: ignore[arg-type]
    block = re.search(r"```python\n(import mteb\n.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)
    found = scores(names["results"])

    test = [sample for sample in read_samples(str(folder)).values() if sample.split == "test"]
    videos = unit([unit(sample.vectors).mean(axis=0) for sample in test])
    labels = sorted(LABELS)
    predicted = (videos @ unit(tower.encode([f"a video of {label}" for label in labels])).T).argmax(axis=1)
    accuracy = np.mean([labels[one] == sample.meta["label"] for one, sample in zip(predicted, test, strict=True)])
    ranked = (unit(tower.encode([sample.meta["captions"][0] for sample in test])) @ videos.T).argmax(axis=1)
    assert np.isclose(found["VideoZeroshotClassification"]["accuracy"], accuracy, atol=1e-4)
    assert np.isclose(found["Any2AnyRetrieval"]["recall_at_1"], np.mean(ranked == np.arange(len(test))), atol=1e-4)
    assert found["VideoClassification"]["accuracy"] > 0.9, "the classes are far apart"
    assert 1 / len(LABELS) < accuracy
    assert 1 / len(test) < found["Any2AnyRetrieval"]["recall_at_1"] < 1
