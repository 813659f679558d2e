"""Samples to triples, for all datasets of a build: find what is left to encode, run it, record the rejects."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.batched import batched
from preprocess.console import waiting
from preprocess.encoders import encoder_spec, family
from preprocess.encoders.engines import engine_device
from preprocess.formats.layout import Layout, json_bytes, note_report, read_json, write_json
from preprocess.formats.processed import KIND_FIELD, Processed
from preprocess.media.sampling import Sampling
from preprocess.media.stamps import MediaStamps
from preprocess.pipeline.index import still_rejected
from preprocess.pipeline.journal import Journal
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.preload import modules
from preprocess.pipeline.settings import Encoding
from preprocess.pipeline.targets import EncodeItems
from preprocess.runtime.devices import devices_of_actor, for_devices
from preprocess.runtime.executors import make_executor
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import PER_TASK, Task, run_items
from preprocess.sample_numbers import ABSENT, BLOCK, SampleNumbers
from preprocess.sample_table import keys_of, taken
from preprocess.samples import CaptionMode, EncodeReport, Reject, Sample
from preprocess.storage import is_remote, write_if_changed

if TYPE_CHECKING:
    from preprocess.encoders.spec import Precision
    from preprocess.pipeline.targets import EncodeItem, EncoderTarget
    from preprocess.pipeline.write import WrittenSample

_PER_WORKER_TASK = 128  # each task may end with a batch that is not full; samples are reported one by one all the same
_PER_TASK_HERE = 1 << 18  # between two of them, devices of this process wait for the decoders to start: a second or two
_PER_DEVICE_TASK = 1_024  # samples that an executor other than this process hands to the devices of one machine


@dataclass(frozen=True, slots=True)
class EncodeOutput:
    """One dataset of a build: its paths, and what encodes it.

    Attributes:
        encoding: As `preprocess.pipeline.settings.resolve_encoding` gives it.
        like: Another output of the same samples, made earlier. A new output leaves out what that one rejected, so that
            both have the same ids and order.
    """

    layout: Layout
    encoding: Encoding
    like: Layout | None = None


@dataclass(slots=True)
class _Run:
    """What one run does for one output."""

    output: EncodeOutput
    processed: Processed
    ledger: Ledger
    journal: Journal
    todo: NDArray[np.bool_]
    changed: int
    counts: Counter[str] = field(default_factory=Counter)


def encode_datasets(
    samples: Sequence[Sample],
    raw: str,
    outputs: Sequence[EncodeOutput],
    options: RunOptions,
    caption_mode: CaptionMode = "first",
    processed: str | None = None,
    *,
    check_urls: bool = True,
) -> list[EncodeReport]:
    """Makes a triple of every sample that lacks one, in every output, or a line of its `rejects.jsonl`.

    A sample whose raw file was replaced since its triple was made lacks one. A sample is decoded once, whatever the
    number of outputs that lack it. What rejects it in one of them rejects it in all of them.

    Args:
        samples: As `preprocess.pipeline.index.read_source` gives them.
        raw: The folder that the samples' media paths are relative to.
        outputs: With the same sampling.
        options: Runtime options.
        caption_mode: How several captions become one text.
        processed: `files` or `parts`; None for what earlier runs wrote, else the default of the storage.
        check_urls: Whether to ask the servers of media given by URL whether it changed.

    Returns:
        One report per output.
    """
    began = time.monotonic()
    numbers = SampleNumbers(samples)
    journals = [Journal(output.layout.journal, output.layout.processed, numbers) for output in outputs]
    with waiting("looking for changed raw files"):
        stamps = MediaStamps(raw, samples)
        if check_urls:
            stamps.ask(lambda which: map(any, zip(*(journal.media(which) for journal in journals), strict=True)))
    runs = [
        _prepare(output, journal, numbers, stamps, raw, options, processed)
        for output, journal in zip(outputs, journals, strict=True)
    ]
    items = EncodeItems(samples, [run.todo for run in runs], stamps)
    try:
        _run_all(items, raw, runs, options, caption_mode)
    except BaseException:
        for run in runs:
            _remove_unfinished(run)
        raise
    return [_finish(run, numbers, stamps, began) for run in runs]


def _prepare(
    output: EncodeOutput,
    journal: Journal,
    numbers: SampleNumbers,
    stamps: MediaStamps,
    raw: str,
    options: RunOptions,
    processed: str | None,
) -> _Run:
    """Opens an output, removes what interrupted runs left and what was made from other files, finds what it lacks."""
    layout = output.layout
    triples = Processed.open(layout, processed)
    noted = {**read_json(layout.source), "model": output.encoding.model.place(), KIND_FIELD: triples.kind}
    write_if_changed(layout.source, json_bytes(noted))
    ledger = Ledger(layout.rejects)
    triples.prepare()
    done, changed = triples.there(numbers), journal.changed(stamps)
    stale = done & (changed | journal.lost)
    if stale.any():
        triples.remove((split, key) for key, split in keys_of(taken(numbers.samples, np.flatnonzero(stale))))
        done &= ~stale
    if output.like is not None and not options.retry and not len(ledger) and not done.any():
        for rejects in batched(Ledger(output.like.rejects), BLOCK):
            known = numbers.of([reject.key for reject in rejects]) != ABSENT
            for reject in itertools.compress(rejects, known):
                ledger.add(reject)
    rejected = still_rejected(ledger, numbers, raw, options.retry) & ~changed
    todo = ~done & ~rejected
    return _Run(output, triples, ledger, journal, todo, int((todo & changed).sum()))


def _run_all(
    items: EncodeItems,
    raw: str,
    runs: Sequence[_Run],
    options: RunOptions,
    caption_mode: CaptionMode,
) -> None:
    """Encodes all items; notes in ledger, journal and counts of each output what became of them."""
    with ExitStack() as files:
        for run in runs:
            files.enter_context(run.ledger)
            files.enter_context(run.journal)
        reports = files.enter_context(closing(_reports(items, raw, runs, options, caption_mode)))
        for report in reports if items else ():
            item = items.finished(report.key)
            for index in item.targets:
                if isinstance(report, Reject):
                    runs[index].ledger.add(report)
                    runs[index].journal.add(item.number, report.key, item.stamp)
                else:
                    runs[index].counts.update(written=1, frames=report.rows[index], bytes=report.sizes[index])
                    runs[index].journal.add(item.number, report.key, report.stamp)


def _remove_unfinished(run: _Run) -> None:
    """Removes what workers were writing when an error or Ctrl-C ended them; in a store, such files never appear.

    Workers have ended by now; a run that succeeds does the same at its end, in `_finish`.
    """
    if not is_remote(run.output.layout.out):
        with suppress(OSError):
            run.processed.prepare()


def _finish(run: _Run, numbers: SampleNumbers, stamps: MediaStamps, began: float) -> EncodeReport:
    """Puts rejects and journal in order and notes the numbers of the run."""
    layout, counts, began_any = run.output.layout, run.counts, bool(run.todo.any())
    if began_any:
        run.processed.prepare()
    done = run.processed.there(numbers)
    run.ledger.keep(numbers.keys(np.flatnonzero(~done)))
    run.journal.keep(done | numbers.among(reject.key for reject in run.ledger), stamps)
    report = EncodeReport(
        written=counts["written"],
        changed=run.changed,
        kept=int(done.sum()) - counts["written"],
        frames=counts["frames"],
        bytes=counts["bytes"],
        rejects=run.ledger.by_reason(),
        seconds=round(time.monotonic() - began, 3),
    )
    if began_any or not layout.report.is_file():
        note_report(layout, "encode", dataclasses.asdict(report))
    return report


def _reports(
    items: EncodeItems,
    raw: str,
    runs: Sequence[_Run],
    options: RunOptions,
    caption_mode: CaptionMode,
) -> Generator[WrittenSample | Reject, None, None]:
    """Chooses the engine and the executor; yields a report for each item."""
    from preprocess.pipeline.engine import EncodeSamples
    from preprocess.pipeline.targets import EncodeSettings

    engines = {run.output.encoding.engine for run in runs}
    for engine in engines:
        options = dataclasses.replace(options, device=engine_device(engine, options.device))
    served_by = [family(run.output.encoding.record["encoder"]["family"]) for run in runs]
    preload = modules(raw, [run.output.layout for run in runs], served_by, engines)
    executor = make_executor(options, preload)
    with waiting("looking for GPUs"):
        from preprocess.encoders.devices import choose_device

        machine = executor.machine
        if machine is None:
            devices = choose_device(options.device)
        else:
            options = for_devices(options, machine)
            machine = make_executor(options, preload).machine or machine
            devices = devices_of_actor(options)
        ask = machine.ask if machine and devices != ("cpu",) else None
        targets = tuple(_target(run, devices[0], options.batch_size, ask) for run in runs)
    on_cpu = devices == ("cpu",)
    sampling = Sampling.from_json(runs[0].output.encoding.record["sampling"])
    settings = EncodeSettings(raw, sampling, caption_mode, targets)
    fn: Callable[[Task[EncodeItem], Watch], Iterator[WrittenSample | Reject]] = EncodeSamples(settings)
    per_task = _PER_WORKER_TASK if executor.machine is None else PER_TASK
    if not on_cpu:
        from preprocess.pipeline.feed import EncodeOnDevices

        # This process has the devices, and batches fill across the samples of a task.
        here = options.executor == "local"
        fn = EncodeOnDevices(settings, devices, dataclasses.replace(options, executor="local"))
        options = dataclasses.replace(options, executor="inline") if here else options
        per_task = _PER_TASK_HERE if here else _PER_DEVICE_TASK
    yield from run_items(
        items,
        fn,
        options,
        per_task=per_task,
        preload=preload,
        description="encode",
        waiting_for="loading the model" if len(targets) == 1 else "loading the models",
        unit=" videos",
        counted="frames",
        fill=max(target.batch_size for target in targets) if on_cpu else 0,
        direct=not on_cpu,
    )


def _target(
    run: _Run, device: str, batch_size: int | None, ask: Callable[..., Precision] | None = None
) -> EncoderTarget:
    """What the engine needs to know of one output; writes `encoding.json`, now that the number format is known.

    Args:
        run: The output.
        device: Where it is encoded.
        batch_size: Rows per forward pass; None for the default of the device.
        ask: Calls a function where the device is, if that is another machine.
    """
    from preprocess.encoders.devices import choose_precision, default_batch_size
    from preprocess.pipeline.targets import EncoderTarget

    layout, encoding = run.output.layout, run.output.encoding
    spec = encoder_spec(encoding.model)
    choose = functools.partial(ask, choose_precision) if ask else choose_precision
    precision = choose(encoding.precision, device, spec.precisions)
    encoding = encoding.with_precision(precision)
    if not layout.encoding.is_file():
        write_json(layout.encoding, encoding.record)
    return EncoderTarget(
        model=encoding.model,
        spec=spec,
        clip_stride=encoding.clip_stride,
        precision=precision,
        batch_size=batch_size or default_batch_size(spec, device),
        dtype=encoding.record["encoder"]["dtype"],
        processed=run.processed,
        engine=encoding.engine,
        weights_sha256=encoding.record["encoder"]["weights_sha256"],
    )
