"""Encodes some samples of a packed dataset anew from the raw files, and compares them with what the tars hold.

    sample_vectors  ds_00000.tar: vid_00012.npy: 'video7010': row 2 of 10 has cosine 0.31207, expected at least 0.999

Model, sampling and preprocessing are those of the manifest. Only the precision is not: here it is fp32, the exact one,
whatever the tars were made with. So the result does not depend on what this machine multiplies fast, and the tars are
held to what the README promises of their precision.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.console import progress
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import SettingsError
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.manifest import Manifest
from preprocess.formats.triples import npy_array
from preprocess.media.sampling import Sampling
from preprocess.pipeline import plan
from preprocess.pipeline.books import Books
from preprocess.pipeline.executors import LocalExecutor
from preprocess.pipeline.machine import memory_share, usable_cores
from preprocess.pipeline.packed import PackedTriple, choose
from preprocess.samples import Preprocessing, Reject, Sample

MIN_COSINE = {"fp32": 0.99999}
"""Least cosine of a row to the same row in fp32; by the precision of the tars."""

MIN_COSINE_FAST = 0.999
"""The same for bf16 and fp16."""

LENGTH_TOLERANCE = 0.02
"""Most by which the length of a row may differ, as a share of it: a cosine does not see rows that were normalised."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person may choose.

    Attributes:
        n: Samples to encode.
        seed: Another one chooses other samples.
        model: Name or folder of the model, where the manifest's name does not lead to it.
        workers: Processes; default: one a core. They run on the CPU.
        time_limit_s: For one video.
        memory_limit: Bytes for one worker; default: its share of 80 % of the machine's memory.
    """

    n: int = 100
    seed: int = 0
    model: str | None = None
    workers: int | None = None
    time_limit_s: float = 600.0
    memory_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One sample whose vectors in the tar are not those of the raw file.

    Attributes:
        code: `sample_vectors`, `sample_rows`, or `sample_source`: the raw data does not give it any more.
        where: The tar and the member.
        problem: What is there, and what was expected.
    """

    code: str
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.code}  {self.where}: {' '.join(self.problem.split())}"


def recheck(
    manifest: Manifest, samples: Sequence[Sample], raw: str, layout: Layout, options: RunOptions
) -> tuple[int, list[Difference]]:
    """How many samples were compared, and those that differ, in the order of the tars.

    Args:
        manifest: Of the packed dataset.
        samples: Of the dataset, as its recipe lists them.
        raw: What their media paths are relative to.
        layout: Where the dataset lies.

    Raises:
        SettingsError: The model is not the one that the manifest names.
        UserError: A tar is damaged.
    """
    model = settle_model(manifest, layout, options.model)
    tars = [shard["file"] for shard in manifest["shards"]]
    chosen = choose(layout.dataset, tars, options.n, options.seed)
    by_key = {sample.key: sample for sample in samples}
    wanted = {key: by_key[key] for one in chosen if (key := one.meta["key"]) in by_key}
    embedded = dict(_embed(manifest, list(wanted.values()), raw, layout, model, options))
    least = MIN_COSINE.get(manifest["encoder"].get("precision", ""), MIN_COSINE_FAST)
    return len(chosen), [difference for one in chosen if (difference := _compare(one, embedded, least))]


def settle_model(manifest: Manifest, layout: Layout, name: str | None = None) -> ModelFiles:
    """The model of a manifest, on this disk.

    Args:
        name: Where it is; where None, as the build found it, else by the manifest's name.

    Raises:
        SettingsError: It has other weights, or another processor.
        UserError: It cannot be had.
    """
    encoder = manifest["encoder"]
    name = name or read_json(layout.source).get("model") or str(encoder.get("model"))
    files = resolve(name, encoder.get("revision"))
    here = {"weights_sha256": files.sha256(), "dim": files.dim(), "preprocessing": _plain(files.preprocessing())}
    for field, value in here.items():
        told = manifest["preprocessing"] if field == "preprocessing" else encoder.get(field)
        if told != value:
            raise SettingsError(
                f"the manifest says {field} {told!r}, model {name!r} has {value!r}",
                "Name the model that the dataset was made with: --model.",
            )
    return files


def _plain(preprocessing: Preprocessing) -> Any:
    """As a manifest has it: tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(preprocessing)))


def _embed(
    manifest: Manifest, samples: Sequence[Sample], raw: str, layout: Layout, model: ModelFiles, options: RunOptions
) -> Iterator[tuple[str, NDArray[np.float32] | Reject]]:
    """Key and vectors of each sample, made in worker processes; nothing is written."""
    from preprocess.pipeline.engine import EmbedChunk, Settings

    settings = Settings(
        raw=raw,
        processed=layout.processed,
        sampling=Sampling.from_json(manifest["sampling"]),
        preprocessing=model.preprocessing(),
        model=model,
        precision="fp32",
        batch_size=32,
        dtype="float32",
        caption_mode=manifest["caption_mode"],
    )
    workers = options.workers or usable_cores()
    memory = options.memory_limit or memory_share(workers)
    executor = LocalExecutor(workers, options.time_limit_s, memory, ("preprocess.pipeline.engine",))
    books = Books()
    chunks = plan.chunks(samples, size=min(plan.CHUNK, max(1, -(-len(samples) // workers))))
    with progress(len(samples), " samples", "encode again") as bar:
        for report in books.keep(executor.run(chunks, EmbedChunk(settings), books.lose)):
            bar.update()
            yield report.key, report if isinstance(report, Reject) else report.vectors


def _compare(
    one: PackedTriple, embedded: Mapping[str, NDArray[np.float32] | Reject], least: float
) -> Difference | None:
    where, key = f"{one.file}: {one.id}.npy", one.meta["key"]
    again = embedded.get(key)
    if again is None:
        return Difference("sample_source", where, f"{key!r}: the raw data has no such sample")
    if isinstance(again, Reject):
        return Difference("sample_source", where, f"{key!r}: {again.reason}, {again.message}")
    packed = npy_array(one.npy, where)
    if packed.shape != again.shape:
        return Difference("sample_rows", where, f"{key!r}: is {packed.shape}, the raw file gives {again.shape}")
    problem = row_problem(packed.astype(np.float64), again.astype(np.float64), least)
    return Difference("sample_vectors", where, f"{key!r}: {problem}") if problem else None


def row_problem(packed: NDArray[np.float64], again: NDArray[np.float64], least: float) -> str | None:
    """What is wrong with the rows of a sample: the worst cosine that is below `least`, else the worst length.

    Args:
        packed: `(T, D)`, from the tar.
        again: `(T, D)`, from the raw file.
        least: Least cosine.
    """
    lengths, expected = np.linalg.norm(packed, axis=1), np.linalg.norm(again, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.nan_to_num((packed * again).sum(axis=1) / (lengths * expected), nan=-1.0)
        stretch = np.nan_to_num(np.abs(lengths / expected - 1), nan=np.inf)
    rows = len(packed)
    if below := int((cosines < least).sum()):
        row = int(np.argmin(cosines))
        more = f" ({below} rows are below it)" if below > 1 else ""
        return f"row {row} of {rows} has cosine {cosines[row]:.5f}, expected at least {least:g}{more}"
    if rows and stretch.max() > LENGTH_TOLERANCE:
        row = int(np.argmax(stretch))
        return f"row {row} of {rows} has length {lengths[row]:.4g}, expected {expected[row]:.4g}"
    return None
