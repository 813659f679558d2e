"""What a build made, as a table for people: read from the manifest and the build report, counted nowhere else."""

from __future__ import annotations

from collections import Counter

from preprocess.console import table
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest


def build_table(layout: Layout) -> str:
    """The table that ends a build, and the Python that loads the dataset.

    Raises:
        UserError: The dataset has not been packed.
    """
    manifest = manifests.read(layout.dataset / MANIFEST_FILE)
    seconds = {step: numbers.get("seconds", 0.0) for step, numbers in read_json(layout.report).items()}
    facts = [
        ("encoder", "{model} ({precision}, {dtype}, {dim}-d)".format(**manifest["encoder"])),
        ("sampling", "{kind} = {value:g}".format(**manifest["sampling"])),
        ("bytes", human_bytes(sum(shard["bytes"] for shard in manifest["shards"]))),
        *[("rejected", f"{count:,} {reason}") for reason, count in reasons(manifest).items()],
        ("time", ", ".join(f"{step} {human_seconds(took)}" for step, took in seconds.items())),
        ("dataset", layout.dataset),
        ("work", layout.work),
    ]
    lines = [manifest["dataset"], "", table(_rows(manifest), right=frozenset(range(1, 7))), "", table(facts), ""]
    return "\n".join([*lines, loading_lines(str(layout.dataset))])


def loading_lines(where: str) -> str:
    """Python that opens the dataset, to be copied."""
    return f'from datasets import load_dataset\ndataset = load_dataset("{where}").with_format("numpy")'


def reasons(manifest: Manifest) -> dict[str, int]:
    """Samples that are in no shard, by reason, over all splits; `missing` among them."""
    counts: Counter[str] = Counter()
    for split in manifest["splits"].values():
        counts.update(split["rejected"])
        counts["missing"] += split["missing"]
    return {reason: count for reason, count in counts.most_common() if count}


def _rows(manifest: Manifest) -> list[tuple[object, ...]]:
    shards = Counter(shard["split"] for shard in manifest["shards"])
    rows: list[tuple[str, *tuple[int, ...]]] = [
        (name, s["inputs"], s["samples"], s["missing"], sum(s["rejected"].values()), s["frames"], shards[name])
        for name, s in manifest["splits"].items()
    ]
    totals = [sum(numbers) for numbers in zip(*(row[1:] for row in rows), strict=True)]
    return [("split", "inputs", "written", "missing", "rejected", "frames", "shards"), *rows, ("total", *totals)]


def human_bytes(count: float) -> str:
    """1536 -> '1.5 kB', in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def human_seconds(seconds: float) -> str:
    """75.2 -> '1 min 15 s'."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
