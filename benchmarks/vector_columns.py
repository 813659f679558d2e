"""The column of vectors as `Array2D` and as nested lists: what `datasets` takes to prepare it and to read it.

    .venv/bin/python benchmarks/vector_columns.py [--samples 2000] [--rounds 3]

2,000 samples of (10, 512) float16, by the version of `datasets` of the project, and by those that `make bench-peers`
installs: 2.21, the oldest one that cards name, and 3.6. The rate is that of `load_dataset`; figures are the seconds of
reading 300 rows one by one, and all by 100, as NumPy; facts say what the vectors are, read and streamed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.machine import versions
from benchmarks.harness.peers import SCRIPTS, peer_python, why_absent
from benchmarks.harness.rounds import Bench, Command

ENVIRONMENTS = ("datasets-2.21", "datasets-3.6")
ARRAY2D = """  - name: npy
    dtype:
      array2_d:
        shape:
        - null
        - 512
        dtype: float16
"""
NESTED = """  - name: npy
    list:
      list: float16
      length: 512
"""


def make_nested(folder: Path, source: Path) -> Path:
    """The same dataset with nested lists in its card.

    Raises:
        ValueError: The card of the source has no `Array2D` of 512 dimensions.
    """
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).hardlink_to(path)
    card = (source / "README.md").read_text(encoding="utf-8")
    if ARRAY2D not in card:
        raise ValueError(f"the card does not have\n{ARRAY2D}")
    (folder / "README.md").unlink()
    (folder / "README.md").write_text(card.replace(ARRAY2D, NESTED), encoding="utf-8")
    return folder


def measure(bench: Bench, title: str, python: str, absent: str, folders: dict[str, Path], samples: int) -> None:
    """The case of one version of `datasets`."""
    script, env = str(SCRIPTS / "vector_columns.py"), {"HF_HUB_OFFLINE": "1"}
    commands = [
        Command(way, "ours" if way == "Array2D" else "peer", [python, script, str(folder)], env=env, absent=absent)
        for way, folder in folders.items()
    ]
    case = bench.case(title, "samples", samples, commands)
    for one in case.contenders:
        if one.runs:
            case.figures[f"s one by one, {one.name}"] = one.facts["one_by_one_s"]
            case.figures[f"s by 100, {one.name}"] = one.facts["batches_s"]


def main() -> None:
    """Measures, prints, keeps."""
    from benchmarks.harness.datasets import make_packed

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2_000)
    bench, options = Bench.from_arguments("vector_columns", parser)
    with bench:
        packed = make_packed(bench.temporary / "CLIP-Array2D", options.samples, per_shard=1_000)
        folders = {"Array2D": packed, "nested lists": make_nested(bench.temporary / "CLIP-Nested", packed)}
        environments = {name: (peer_python(name), why_absent("datasets", name)) for name in ENVIRONMENTS}
        for name, (python, absent) in {"project": (sys.executable, ""), **environments}.items():
            version = name if absent else f"datasets-{versions(python, ('datasets',))['datasets']}"
            title = f"{options.samples:,} samples prepared by {version.replace('-', ' ')}"
            measure(bench, title, python, absent, folders, options.samples)
        bench.write()


if __name__ == "__main__":
    main()
