"""Samples to triples, for a whole dataset: find what is to do, run it in worker processes, keep the books."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preprocess.console import progress
from preprocess.formats.atomic import remove_temporary, write_if_changed
from preprocess.formats.layout import Layout, json_bytes, note_report, read_json, write_json
from preprocess.formats.triples import done_keys
from preprocess.media.sampling import Sampling
from preprocess.pipeline import plan
from preprocess.pipeline.books import Books
from preprocess.pipeline.executors import LocalExecutor
from preprocess.pipeline.index import still_rejected
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.machine import memory_share, usable_cores
from preprocess.pipeline.settings import Encoding
from preprocess.samples import SPLITS, CaptionMode, EncodeReport, Reject, Sample

if TYPE_CHECKING:
    from preprocess.pipeline.engine import Written

_PRELOAD = ("preprocess.pipeline.engine", "preprocess.encoders.clip", "torchvision.transforms.v2.functional")


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
    todo = plan.todo(samples, done, still_rejected(ledger, raw))
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
    from preprocess.pipeline.engine import EncodeChunk, Settings

    workers = options.workers or usable_cores()
    executor = LocalExecutor(workers, options.time_limit_s, options.memory_limit or memory_share(workers), _PRELOAD)
    executor.warm_up()  # imports take seconds: these go on while this process imports torch to look for a GPU
    from preprocess.encoders.devices import choose_device, choose_precision

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
    books = Books()
    chunks = plan.chunks(todo)
    if on_cpu:
        yield from books.keep(executor.run(chunks, EncodeChunk(settings), books.lose))
    else:
        from preprocess.encoders.clip import ClipEncoder
        from preprocess.pipeline.feed import SendChunk, encode_sent

        encoders = [ClipEncoder(encoding.model, device, precision, settings.batch_size) for device in devices]
        yield from encode_sent(books.keep(executor.run(chunks, SendChunk(settings), books.lose)), encoders, settings)
