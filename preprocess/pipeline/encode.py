"""Samples to triples, for a whole dataset: settle the settings, find what is to do, run it, keep the books."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from preprocess.console import progress
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import Reason, SettingsError, UnknownNameError
from preprocess.formats.atomic import remove_temporary, write_if_changed
from preprocess.formats.layout import Layout, json_bytes, note_report, read_json, write_json
from preprocess.formats.triples import done_keys
from preprocess.media.sampling import Sampling
from preprocess.pipeline import plan
from preprocess.pipeline.executors import LocalExecutor, Loss
from preprocess.pipeline.index import local_media_exists
from preprocess.pipeline.ledger import Ledger
from preprocess.samples import JSON, SPLITS, DatasetSpec, EncodeReport, Reject, Sample

DTYPES = ("float16", "float32")
_LOSS_REASONS: dict[str, Reason] = {
    "crashed": "decoder_crashed",
    "timeout": "timeout",
    "out_of_memory": "out_of_memory",
}
_PRELOAD = ("preprocess.pipeline.engine",)
_MIN_WORKER_MEMORY = 2 << 30


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What a person may choose. None means: as the output that is there was made, else the default.

    Attributes:
        model: Name of the model; default: the spec's.
        revision: Of the model on the Hub.
        sampling: Which frames; default: 1 a second.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        dtype: Of the vectors on disk; default `float16`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        workers: Processes; default: one a core.
        batch_size: Rows per forward pass; default: 32 on a CPU, 256 on a GPU.
        time_limit_s: For one video.
        memory_limit: Bytes for one worker; default: its share of 80 % of the machine's memory.
        retry: Try rejected samples again.
    """

    model: str | None = None
    revision: str | None = None
    sampling: Sampling | None = None
    precision: str = "auto"
    dtype: str | None = None
    device: str = "auto"
    workers: int | None = None
    batch_size: int | None = None
    time_limit_s: float = 600.0
    memory_limit: int | None = None
    retry: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)


def encode_dataset(
    spec: DatasetSpec, raw: str, samples: Sequence[Sample], layout: Layout, options: EncodeOptions
) -> EncodeReport:
    """Makes a triple of every sample that has none yet, or a line of `rejects.jsonl`.

    Args:
        raw: The folder that the samples' media paths are relative to.
        samples: As `preprocess.pipeline.index.index_samples` gives them.

    Raises:
        SettingsError: The triples that are there were made with other settings.
    """
    began = time.monotonic()
    ledger = Ledger(layout.rejects)
    if options.retry:
        ledger.keep(())
    files, encoding = _settle(spec, layout, options)
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
    if todo:
        with progress(len(todo), " videos", "encode") as bar:
            for report in _run(raw, todo, layout, options, files, encoding, spec):
                bar.update()
                if isinstance(report, Reject):
                    ledger.add(report)
                    continue
                written, frames, size = written + 1, frames + report.frames, size + report.bytes
                bar.set_postfix_str(f"{frames / (time.monotonic() - began):.0f} frames/s", refresh=False)
        done = {split: done_keys(layout.processed, split) for split in SPLITS}
    ledger.keep(sample.key for sample in samples if sample.key not in done[sample.split])
    kept = sum(sample.key in done[sample.split] for sample in samples) - written
    report = EncodeReport(written, kept, frames, size, ledger.by_reason(), round(time.monotonic() - began, 3))
    if todo or not layout.report.is_file():
        note_report(layout, "encode", dataclasses.asdict(report))
    return report


def _run(
    raw: str,
    todo: list[Sample],
    layout: Layout,
    options: EncodeOptions,
    files: ModelFiles,
    encoding: JSON,
    spec: DatasetSpec,
) -> Iterator[Any]:
    """Starts the workers and yields a report for each sample of `todo`."""
    from preprocess.encoders.clip import ClipEncoder, choose_device, choose_precision
    from preprocess.pipeline.engine import EncodeChunk, Settings
    from preprocess.pipeline.feed import SendChunk, encode_sent

    devices = choose_device(options.device)
    on_cpu = devices == ("cpu",)
    precision = choose_precision(encoding["encoder"]["precision"], devices[0])
    if encoding["encoder"]["precision"] != precision:  # `auto`, now that the hardware has been asked
        encoding = {**encoding, "encoder": {**encoding["encoder"], "precision": precision}}
    if not layout.encoding.is_file():
        write_json(layout.encoding, encoding)
    settings = Settings(
        raw=raw,
        processed=layout.processed,
        sampling=Sampling.from_json(encoding["sampling"]),
        preprocessing=files.preprocessing(),
        model=files,
        precision=precision,
        batch_size=options.batch_size or (32 if on_cpu else 256),
        dtype=encoding["encoder"]["dtype"],
        caption_mode=spec.caption_mode,
    )
    workers = options.workers or usable_cores()
    executor = LocalExecutor(workers, options.time_limit_s, options.memory_limit or _memory_share(workers), _PRELOAD)
    dealt_with: set[str] = set()

    def noting(reports: Iterator[Any], key_of: Callable[[Any], str | None]) -> Iterator[Any]:
        for report in reports:
            if (key := key_of(report)) is not None:
                dealt_with.add(key)
            yield report

    lost: list[Reject] = []

    def on_loss(chunk: plan.Chunk, loss: Loss) -> plan.Chunk | None:
        sample = next(sample for sample in chunk.samples if sample.key == loss.item)
        lost.append(Reject(sample.key, sample.split, "decode", _LOSS_REASONS[loss.cause], loss.message))
        dealt_with.add(sample.key)
        return chunk.without(dealt_with)

    chunks = plan.chunks(todo)
    if on_cpu:
        reports: Iterator[Any] = noting(executor.run(chunks, EncodeChunk(settings), on_loss), lambda r: r.key)
    else:
        encoders = [ClipEncoder(files, device, precision, settings.batch_size) for device in devices]
        sent = noting(executor.run(chunks, SendChunk(settings), on_loss), lambda r: getattr(r, "key", None))
        reports = encode_sent(sent, encoders, settings)
    for report in reports:
        yield from _drain(lost)
        yield report
    yield from _drain(lost)


def _drain(rejects: list[Reject]) -> Iterator[Reject]:
    while rejects:
        yield rejects.pop(0)


def _settle(spec: DatasetSpec, layout: Layout, options: EncodeOptions) -> tuple[ModelFiles, JSON]:
    """What this run encodes with, checked against the triples that are there; `precision` may still be `auto`."""
    before = read_json(layout.encoding)
    old = before.get("encoder", {})
    remembered = read_json(layout.source)
    model = options.model or remembered.get("model") or spec.encoder
    same_model = model in (remembered.get("model"), old.get("model"))
    files = resolve(model, options.revision or (old.get("revision") if same_model else None))
    sampling = options.sampling or (Sampling.from_json(before["sampling"]) if before else Sampling("fps", 1))
    encoding: JSON = {
        "encoder": {
            "model": files.id,
            "revision": files.revision,
            "weights_sha256": files.sha256(),
            "precision": old.get("precision", "auto") if options.precision == "auto" else options.precision,
            "dtype": options.dtype or old.get("dtype", "float16"),
            "dim": files.dim(),
            "normalized": False,
        },
        "sampling": sampling.to_json(),
        "preprocessing": dataclasses.asdict(files.preprocessing()),
        "versions": library_versions(),
    }
    encoding = _as_json(encoding)
    for part in ("encoder", "sampling", "preprocessing") if before else ():
        for field in sorted({*before[part], *encoding[part]}):
            there, here = before[part].get(field), encoding[part].get(field)
            if there != here:
                raise SettingsError(
                    f"the triples in {layout.processed} were made with {part}.{field} = {there!r}, not {here!r}",
                    "Leave the option out to go on with them, start afresh with ARGS=--overwrite, or give this one a "
                    "NAME= of its own.",
                )
    write_if_changed(layout.source, json_bytes({**remembered, "model": files.place()}))
    return files, before or encoding


def library_versions() -> JSON:
    """Versions of what decides about the bytes: decoder, resize, model."""
    names = ("av", "numpy", "pillow", "torch", "torchvision", "transformers")
    return {name: importlib.metadata.version(name).split("+")[0] for name in names}


def usable_cores() -> int:
    """Cores this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_share(workers: int) -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_MIN_WORKER_MEMORY, int(total * 0.8) // workers)


def _as_json(value: JSON) -> JSON:
    """As it will be read back: tuples become lists."""
    import json

    result: JSON = json.loads(json.dumps(value))
    return result
