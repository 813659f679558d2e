"""Samples to triples, for a whole dataset: find what is to do, run it in worker processes, keep the books."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from preprocess.console import progress
from preprocess.errors import Reason
from preprocess.formats.atomic import remove_temporary, write_if_changed
from preprocess.formats.layout import Layout, json_bytes, note_report, read_json, write_json
from preprocess.formats.triples import done_keys
from preprocess.media.sampling import Sampling
from preprocess.pipeline import plan
from preprocess.pipeline.executors import LocalExecutor, Loss
from preprocess.pipeline.index import local_media_exists
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.settings import Encoding
from preprocess.samples import SPLITS, CaptionMode, EncodeReport, Reject, Sample

if TYPE_CHECKING:
    from preprocess.pipeline.engine import Written
    from preprocess.pipeline.feed import SentClip

_LOSS_REASONS: dict[str, Reason] = {
    "crashed": "decoder_crashed",
    "timeout": "timeout",
    "out_of_memory": "out_of_memory",
}
_PRELOAD = ("preprocess.pipeline.engine",)
_MIN_WORKER_MEMORY = 2 << 30

Outcome = TypeVar("Outcome", "Written | Reject", "SentClip | Reject")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person may choose about a run; none of it changes a byte.

    Attributes:
        device: `auto` (every GPU, else the CPU), `cpu`, `cuda`, `cuda:N`.
        workers: Processes; default: one a core.
        batch_size: Rows per forward pass; default: 32 on a CPU, 256 on a GPU.
        time_limit_s: For one video.
        memory_limit: Bytes for one worker; default: its share of 80 % of the machine's memory.
        retry: Try rejected samples again.
    """

    device: str = "auto"
    workers: int | None = None
    batch_size: int | None = None
    time_limit_s: float = 600.0
    memory_limit: int | None = None
    retry: bool = False


def encode_dataset(
    samples: Sequence[Sample],
    raw: str,
    layout: Layout,
    encoding: Encoding,
    options: RunOptions,
    caption_mode: CaptionMode = "first",
) -> EncodeReport:
    """Makes a triple of every sample that has none yet, or a line of `rejects.jsonl`.

    Args:
        samples: As `preprocess.pipeline.index.index_samples` gives them.
        raw: The folder that the samples' media paths are relative to.
        encoding: As `preprocess.pipeline.settings.settle_encoding` gives it.
    """
    began = time.monotonic()
    remembered = {**read_json(layout.source), "model": encoding.model.place()}
    write_if_changed(layout.source, json_bytes(remembered))
    ledger = Ledger(layout.rejects)
    if options.retry:
        ledger.keep(())
    for split in SPLITS:
        (layout.processed / split).mkdir(parents=True, exist_ok=True)
        remove_temporary(layout.processed / split)
    done = {split: done_keys(layout.processed, split) for split in SPLITS}

    def rejected(sample: Sample) -> bool:
        if sample.key not in ledger:
            return False
        return ledger[sample.key].reason != "missing" or not local_media_exists(raw, sample)

    todo = plan.todo(samples, done, rejected)
    written = frames = size = 0
    with progress(len(todo), " videos", "encode") as bar:
        for report in _run(todo, raw, layout, encoding, options, caption_mode) if todo else ():
            bar.update()
            if isinstance(report, Reject):
                ledger.add(report)
                continue
            written, frames, size = written + 1, frames + report.frames, size + report.bytes
            bar.set_postfix_str(f"{frames / (time.monotonic() - began):.0f} frames/s", refresh=False)
    if todo:
        done = {split: done_keys(layout.processed, split) for split in SPLITS}
    ledger.keep(sample.key for sample in samples if sample.key not in done[sample.split])
    kept = sum(sample.key in done[sample.split] for sample in samples) - written
    whole = EncodeReport(written, kept, frames, size, ledger.by_reason(), round(time.monotonic() - began, 3))
    if todo or not layout.report.is_file():
        note_report(layout, "encode", dataclasses.asdict(whole))
    return whole


def _run(
    todo: Sequence[Sample],
    raw: str,
    layout: Layout,
    encoding: Encoding,
    options: RunOptions,
    caption_mode: CaptionMode,
) -> Iterator[Written | Reject]:
    """Starts the workers and yields a report for each sample of `todo`."""
    from preprocess.encoders.clip import ClipEncoder, choose_device, choose_precision
    from preprocess.pipeline.engine import EncodeChunk, Settings
    from preprocess.pipeline.feed import SendChunk, encode_sent

    devices = choose_device(options.device)
    on_cpu = devices == ("cpu",)
    precision = choose_precision(encoding.precision, devices[0])
    encoding = encoding.with_precision(precision)
    if not layout.encoding.is_file():
        write_json(layout.encoding, encoding.record)
    settings = Settings(
        raw=raw,
        processed=layout.processed,
        sampling=Sampling.from_json(encoding.record["sampling"]),
        preprocessing=encoding.model.preprocessing(),
        model=encoding.model,
        precision=precision,
        batch_size=options.batch_size or (32 if on_cpu else 256),
        dtype=encoding.record["encoder"]["dtype"],
        caption_mode=caption_mode,
    )
    workers = options.workers or usable_cores()
    executor = LocalExecutor(workers, options.time_limit_s, options.memory_limit or _memory_share(workers), _PRELOAD)
    books = _Books()
    chunks = plan.chunks(todo)
    if on_cpu:
        yield from books.keep(executor.run(chunks, EncodeChunk(settings), books.lose))
    else:
        encoders = [ClipEncoder(encoding.model, device, precision, settings.batch_size) for device in devices]
        yield from encode_sent(books.keep(executor.run(chunks, SendChunk(settings), books.lose)), encoders, settings)


class _Books:
    """Which samples the workers have dealt with, so that a lost worker's chunk goes on behind them."""

    def __init__(self) -> None:
        self._dealt_with: set[str] = set()
        self._lost: list[Reject] = []

    def keep(self, reports: Iterator[Outcome | Reject]) -> Iterator[Outcome | Reject]:
        """Passes reports on, noting their keys; the rejects of lost workers come in between."""
        for report in reports:
            self._dealt_with.add(report.key)
            yield from self._drain()
            yield report
        yield from self._drain()

    def lose(self, chunk: plan.Chunk, loss: Loss) -> plan.Chunk | None:
        """Rejects the sample that took its worker down; what is left of the chunk is done again."""
        sample = next(sample for sample in chunk.samples if sample.key == loss.item)
        self._lost.append(Reject(sample.key, sample.split, "decode", _LOSS_REASONS[loss.cause], loss.message))
        self._dealt_with.add(sample.key)
        return chunk.without(self._dealt_with)

    def _drain(self) -> Iterator[Reject]:
        while self._lost:
            yield self._lost.pop(0)


def usable_cores() -> int:
    """Cores this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_share(workers: int) -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_MIN_WORKER_MEMORY, int(total * 0.8) // workers)
