"""Compares card and figures of a build with the committed example, or replaces the example with them.

    make build DATASET=demo
    python -m tests.cards.example data/CLIP-Shapes            exit code 1 and one line per difference
    python -m tests.cards.example data/CLIP-Shapes --keep     writes dataset_cards/examples/CLIP-Shapes

A build on another processor differs in the last bits of its vectors. So the text must be the same except for checksums,
versions, digits beyond `TOLERANCE` and which of many equal pairs are the most similar; and the figures must look alike.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from builders.contents import ASSETS_FOLDER
from preprocess.storage import write_if_changed

FOLDER = Path(__file__).resolve().parents[2] / "dataset_cards" / "examples"
TOLERANCE = 0.02
"""Largest difference of two numbers, relative or absolute."""

PIXEL_TOLERANCE = 4.0
"""Largest mean difference of two figures, of 255."""

_DIGEST = re.compile(r"\b[0-9a-f]{40,64}\b")
_VERSION = re.compile(r"^\| version of .*", re.MULTILINE)
_WORST = re.compile(r"(The most similar pairs:\n\n)(?:\|.*\n)+")
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


def keep(dataset: Path, folder: Path = FOLDER) -> list[Path]:
    """Copies card and figures of a dataset to the example; returns what it wrote."""
    target = folder / dataset.name
    target.joinpath(ASSETS_FOLDER).mkdir(parents=True, exist_ok=True)
    fresh = _files(dataset)
    for stale in _files(target).keys() - fresh.keys():
        target.joinpath(stale).unlink()
    for name, data in fresh.items():
        write_if_changed(target / name, data)
    return [target / name for name in fresh]


def compare(dataset: Path, folder: Path = FOLDER) -> list[str]:
    """The differences between the example and a built dataset, one line each."""
    kept, fresh = _files(folder / dataset.name), _files(dataset)
    if "README.md" not in kept:
        return [f"there is no example of {dataset.name}"]
    problems = [f"{name}: only in the {side}" for name, side in _lonely(kept, fresh)]
    for name in sorted(kept.keys() & fresh.keys()):
        if name.endswith(".png"):
            problems += [f"{name}: {found}" for found in _figure_differences(kept[name], fresh[name])]
        else:
            problems += [f"{name}: {found}" for found in text_differences(kept[name].decode(), fresh[name].decode())]
    return problems


def text_differences(kept: str, fresh: str) -> Iterator[str]:
    """Lines that differ between two cards; numbers may differ by `TOLERANCE`, digests and versions freely."""
    old, new = (_comparable(text).splitlines() for text in (kept, fresh))
    if len(old) != len(new):
        yield f"{len(old)} lines in the example, {len(new)} in the build"
        return
    for number, (a, b) in enumerate(zip(old, new, strict=True), 1):
        if _NUMBER.sub("#", a) != _NUMBER.sub("#", b) or not _near(a, b):
            yield f"line {number}: {a!r} in the example, {b!r} in the build"


def _comparable(text: str) -> str:
    return _WORST.sub(r"\1", _VERSION.sub("| version |", _DIGEST.sub("<digest>", text)))


def _near(a: str, b: str) -> bool:
    left, right = ([float(n.replace(",", "")) for n in _NUMBER.findall(text)] for text in (a, b))
    return bool(np.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE))


def _figure_differences(kept: bytes, fresh: bytes) -> Iterator[str]:
    from PIL import Image

    old, new = (np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), np.float32) for data in (kept, fresh))
    if old.shape != new.shape:
        yield f"{old.shape[:2]} pixels in the example, {new.shape[:2]} in the build"
    elif (difference := float(np.abs(old - new).mean())) > PIXEL_TOLERANCE:
        yield f"looks different (mean difference of pixels {difference:.1f})"


def _files(folder: Path) -> dict[str, bytes]:
    """Card and assets of a folder, by name."""
    paths = [folder / "README.md", *sorted(folder.joinpath(ASSETS_FOLDER).glob("*"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def _lonely(kept: dict[str, bytes], fresh: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(name, "example") for name in sorted(kept.keys() - fresh.keys())] + [
        (name, "build") for name in sorted(fresh.keys() - kept.keys())
    ]


def main(arguments: list[str]) -> int:
    dataset = Path(arguments[0]).resolve()
    for line in keep(dataset) if "--keep" in arguments else (problems := compare(dataset)):
        print(line)
    return 0 if "--keep" in arguments else int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
