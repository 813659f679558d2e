"""What a build of many samples takes of the process that holds it, with a decoder and an encoder that do nothing.

    .venv/bin/python benchmarks/scale.py [--samples 200000 1000000 10000000] [--most 1000000] [--tars 10000000]
    .venv/bin/python benchmarks/scale.py --samples 100000000 --tars 100000000 --add  # two hours, 50 GB of disk
    .venv/bin/python benchmarks/scale.py --samples 100000000 --most 100000000 --steps collect --add

Each step runs in a process of its own, and its memory beyond that of the imports is measured: `anonymous` is what
cannot be dropped (the mapped table of samples can). Steps:

    objects   a list of `Sample`s, as recipes are held up to `plan.AS_OBJECTS`
    collect   a recipe's samples into a table, sorted by split and key
    plan      the numbers of samples by their keys, and the items of a run of all, from a table on disk
    run       the items through `run_items`: decoded and encoded by nobody, in this process
    encode    `encode_datasets` with the table, where parts of 256 triples and a journal say that all samples but the
              first `--run` are done: journal, changed media, triples that are there, what is left, those items through
              `run_items`, and what a run puts in order at its end
    pack      where the triples in parts are, which of them go into which tar, and what goes into the first tar

`plan` and `run` are measured with all numbers of samples, `encode` and `pack` up to `--tars`, the others up to
`--most`; what more would take is `extrapolated`, from the two largest numbers that were measured. Of `run`, the first
`--run` items are measured, and the memory at their begin and at their end. Figures go to `results/scale.json`; with
`--add`, those that are there of other steps or numbers of samples stay.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocess.console import table
from preprocess.formats import members
from preprocess.formats.layout import Layout
from preprocess.formats.processed import Processed
from preprocess.formats.tar import member
from preprocess.media.stamps import MediaStamps
from preprocess.pipeline import encode, plan
from preprocess.pipeline.pack_plan import PackItems, plan_jobs
from preprocess.pipeline.settings import EncodeOptions, resolve_encoding
from preprocess.pipeline.targets import EncodeItem, EncodeItems
from preprocess.pipeline.write import WrittenSample
from preprocess.recipes import load
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.sample_numbers import SampleNumbers
from preprocess.sample_table import MappedColumns, SampleTable, _schema, chosen, sorted_rows
from preprocess.samples import Sample, canonical_json

RESULTS = Path(__file__).parent / "results" / "scale.json"
LIMIT = 4e9  # bytes
FAR = 100_000_000  # samples that all steps are extrapolated to
STEPS = ("objects", "collect", "plan", "run", "encode", "pack")
WHOLE = ("plan", "run")
WITH_PARTS = ("encode", "pack")


def nothing(task: Task[EncodeItem], watch: Watch) -> Iterator[WrittenSample]:
    """A decoder and an encoder that do nothing."""
    for item in task.items:
        watch(item.key)
        yield WrittenSample(item.key, {0: 1}, {0: 1})


def sample(i: int) -> Sample:
    """As a recipe makes it."""
    key = f"video{i:09d}"
    media, caption = f"videos/part{i % 1000:03d}/{key}.mp4", f"a person is doing thing number {i}"
    return Sample(key, "train", media, (caption,), f"class {i % 700}", meta={"videoID": key})


def samples(count: int) -> Iterator[Sample]:
    """In no particular order."""
    return (sample((i * 7919) % count) for i in range(count))  # 7919 is prime, and divides no power of ten


def write_table(path: Path, count: int) -> None:
    """The file that `SampleTable.of` would write of samples in order; by columns, so that 100 million take minutes."""
    schema = _schema()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for first in range(0, count, 1 << 16):
            numbers = np.arange(first, min(count, first + (1 << 16)))
            digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 9, "0")
            keys = pc.binary_join_element_wise("video", digits, "")
            part = pc.utf8_lpad(pc.cast(pa.array(numbers % 1000), pa.string()), 3, "0")
            media = pc.binary_join_element_wise("videos/part", part, "/", keys, ".mp4", "")
            plain = pc.cast(pa.array(numbers), pa.string())
            labels = pc.cast(pa.array(numbers % 700), pa.string())
            before = ('{"key": "', keys, '", "split": "train", "media": "', media)
            texts = ('", "captions": ["a person is doing thing number ', plain, '"], "label": "class ', labels)
            after = ('", "start_s": null, "end_s": null, "meta": {"videoID": "', keys, '"}}')
            lines = pc.binary_join_element_wise(*before, *texts, *after, "")
            splits = pa.array(np.zeros(len(numbers), np.int8))
            writer.write_batch(pa.record_batch([keys, splits, media, lines], schema=schema))


def opened(path: Path) -> SampleTable:
    """The table in a file."""
    columns = MappedColumns.mapped(str(path))
    return SampleTable(columns, sorted_rows(columns))


def step_plan(count: int, folder: Path, limit: int) -> Any:
    """The numbers of the samples, and the items of all."""
    listed = opened(folder / f"{count}.arrow")
    return SampleNumbers(listed), EncodeItems(listed, [np.ones(count, np.bool_)], MediaStamps(str(folder), listed))


def step_run(count: int, folder: Path, limit: int) -> Any:
    """The first `limit` items of a run; says what memory it had at its begin."""
    listed = opened(folder / f"{count}.arrow")
    items = EncodeItems(listed, [np.ones(count, np.bool_)], MediaStamps(str(folder), listed))
    reports = run_items(items, nothing, RunOptions(executor="inline"), per_task=32)
    began = anonymous()
    for report in itertools.islice(reports, limit):
        items.finished(report.key)
    print(json.dumps({"at_begin": began, "at_end": anonymous()}))
    return items


def step_encode(count: int, folder: Path, limit: int) -> Any:
    """All of a build's encoding but decoding, encoding and writing triples."""
    layout = build_layout(folder, count)
    encoding = resolve_encoding(load("folder").SPEC, layout, EncodeOptions(model="tiny-clip"))
    encode._reports = lambda items, *_: run_items(items, nothing, RunOptions(executor="inline"), per_task=32)
    output = encode.EncodeOutput(layout, encoding)
    (report,) = encode.encode_datasets(
        opened(folder / f"{count}.arrow"), str(folder), [output], RunOptions(executor="inline"), processed="parts"
    )
    assert (report.written, report.kept) == (min(limit, count), -min(limit, count) + max(0, count - limit)), report
    return report


def step_objects(count: int, folder: Path, limit: int) -> Any:
    """A list."""
    return list(samples(count))


def step_collect(count: int, folder: Path, limit: int) -> Any:
    """A table."""
    return plan.collected(samples(count))


def step_pack(count: int, folder: Path, limit: int) -> Any:
    """The plan of the tars, and the first of them as a task."""
    listed = opened(folder / f"{count}.arrow")
    places = Processed(build_layout(folder, count).processed, "parts").find(listed)
    items = PackItems(chosen(listed, places.there), places.only(places.there), "first")
    jobs = plan_jobs(items, per_shard=10_000, seed=42, shuffle=True)
    return jobs, jobs[0]


def build_layout(folder: Path, count: int) -> Layout:
    """Of the build whose triples and journal are there."""
    return Layout(folder / f"out-{count}", "CLIP-Scale")


def write_build(layout: Layout, count: int, limit: int) -> None:
    """Parts of 256 triples, of which only the indexes are written, as nothing else is read; and the journal."""
    train = layout.processed / "train"
    train.mkdir(parents=True)
    for number, first in enumerate(range(min(limit, count), count, 256)):
        rows = [[f"video{i:09d}", [10_368, 40, 400], f"{i:016x}"] for i in range(first, min(count, first + 256))]
        index = canonical_json({"members": list(members.extensions()), "samples": rows}).encode()
        (train / f"part_{number:016x}.tar").write_bytes(member(".index", index))
    with layout.journal.open("w") as file:
        for i in range(min(limit, count), count):
            file.write(f'{{"key": "video{i:09d}", "media": [{183412 + i}, {1753190000000000000 + i}]}}\n')


def anonymous() -> int:
    """Bytes of this process that are in use and of no file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("needs Linux")


def child(step: str, count: int, folder: Path, limit: int) -> None:
    """Runs one step and prints what it took."""
    before, most, done = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    held = globals()[f"step_{step}"](count, folder, limit)
    seconds = time.perf_counter() - began
    most = max(most, anonymous())
    done.set()
    print(json.dumps({"seconds": round(seconds, 2), "before": before, "peak": most, "held": anonymous()}))
    del held


def measure(step: str, count: int, folder: Path, limit: int) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--child", step, str(count), str(folder), str(limit)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = {}
    for line in output.splitlines():
        found |= json.loads(line)
    whole = {"step": step, "samples": count, "seconds": found["seconds"], "peak_gb": round(found["peak"] / 1e9, 3)}
    whole["bytes_per_sample"] = round((found["peak"] - found["before"]) / count, 1)
    if "at_begin" in found:
        run = min(limit, count)
        whole |= {"measured_items": run, "grown_bytes": found["at_end"] - found["at_begin"]}
    return whole


def kept(new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures in the file that `new` does not replace, then those of `new`; by samples and step."""
    again = {(one["step"], one["samples"]) for one in new}
    steps: list[dict[str, Any]] = json.loads(RESULTS.read_text())["steps"]
    old = [one for one in steps if (one["step"], one["samples"]) not in again and not one.get("extrapolated")]
    return sorted([*old, *new], key=lambda one: (one["samples"], STEPS.index(one["step"])))


def write_results(steps: list[dict[str, Any]]) -> None:
    """What was measured, what follows for more samples, and the number of samples at which a step is at the limit."""
    more, limits = [], {}
    for step in STEPS:
        measured = sorted((one["samples"], one["peak_gb"]) for one in steps if one["step"] == step)
        if len(measured) < 2:
            continue
        (few, low), (many, high) = measured[-2:]
        each = (high - low) / (many - few)  # beyond what any number of samples takes
        limits[step] = int(many + (LIMIT / 1e9 - high) / each) if each > 0 else None
        for count in sorted(far for far in {one["samples"] for one in steps} | {FAR} if far > many):
            gigabytes = round(high + each * (count - many), 2)
            more.append({"step": step, "samples": count, "peak_gb": gigabytes, "extrapolated": True})
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "numpy": np.__version__,
    }
    result = {"machine": machine, "limit_gb": LIMIT / 1e9, "samples_at_the_limit": limits, "steps": [*steps, *more]}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


def main() -> None:
    """Prints one line per step and number of samples, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[200_000, 1_000_000, 10_000_000])
    parser.add_argument("--most", type=int, default=1_000_000, help="samples of the steps that hold an object of each")
    parser.add_argument("--tars", type=int, default=10_000_000, help="samples of the steps that need parts")
    parser.add_argument("--run", type=int, default=100_000, help="items of a run that are measured")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, metavar="STEP", help="only these")
    parser.add_argument("--beside", action="store_true", help="note that other programs run, so seconds say little")
    parser.add_argument("--add", action="store_true", help="keep the figures of other steps and numbers of samples")
    parser.add_argument("--child", nargs=4)
    arguments = parser.parse_args()
    if arguments.child:
        step, count, folder, limit = arguments.child
        child(step, int(count), Path(folder), int(limit))
        return
    found: list[dict[str, Any]] = []
    beside = {"beside_other_work": True} if arguments.beside else {}
    parts = not set(WITH_PARTS).isdisjoint(arguments.steps)
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = Path(temporary)
        for count in arguments.samples:
            if parts or not set(WHOLE).isdisjoint(arguments.steps):
                write_table(folder / f"{count}.arrow", count)
            if parts and count <= arguments.tars:
                write_build(build_layout(folder, count), count, arguments.run)
            for step in arguments.steps:
                most = arguments.tars if step in WITH_PARTS else arguments.most
                if count > most and step not in WHOLE:
                    continue
                found.append(measure(step, count, folder, arguments.run) | beside)
                print(found[-1], flush=True)
            (folder / f"{count}.arrow").unlink(missing_ok=True)
            shutil.rmtree(build_layout(folder, count).out, ignore_errors=True)
            write_results(kept(found) if arguments.add else found)
    columns = ("step", "samples", "seconds", "peak_gb", "bytes_per_sample")
    rows = [tuple(str(one.get(name, "")) for name in columns) for one in found]
    print(table([columns, *rows], frozenset({1, 2, 3, 4})))


if __name__ == "__main__":
    main()
