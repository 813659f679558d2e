"""`unpack`, `recheck`, `where`, `report`: what was built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preprocess import options
from preprocess.formats.layout import read_json, write_json


def unpack(dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None) -> None:
    """Turn the parts of the processed dataset into files: .npy, .txt, .json per sample."""
    from preprocess.formats.processed import KIND_FIELD, Processed
    from preprocess.pipeline.index import only_run

    layout = options.open_dataset(dataset, out, name)[1]
    with only_run(layout):
        count = Processed(layout.processed).unpack()
        if source := read_json(layout.source):
            write_json(layout.source, {**source, KIND_FIELD: "files"})
    print(f"{count:,} triples unpacked in {layout.processed}")


def recheck(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    n: Annotated[int, typer.Option("-n", min=1, max=options.MAX_COUNT, help="Samples to encode.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=options.MAX_SEED, help="Seed of the choice of samples.")] = 0,
    model: options.Model = None,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
) -> None:
    """Encode some packed samples again and compare; exit code 1 when any differs.

    Samples without a raw file are listed and not compared.
    """
    from preprocess.formats.manifest import MANIFEST_FILE, read
    from preprocess.pipeline.index import read_source, resolve_source
    from preprocess.pipeline.recheck import recheck as compare

    run = options.run_options(
        workers, time_limit, max_memory, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    recipe, layout = options.open_dataset(dataset, out, name, model)
    manifest = read(layout.dataset / MANIFEST_FILE)
    source = resolve_source(recipe, layout, raw, moved=True)
    chosen, findings = compare(
        manifest, read_source(recipe, source), str(source.folder), layout, run, n=n, seed=seed, model=model
    )
    for finding in findings:
        print(finding)
    differ = sum(finding.compared for finding in findings)
    missing = len(findings) - differ
    without = f"; without a raw file: {missing:,}" if missing else ""
    print(f"{chosen - missing:,} samples encoded again, {differ:,} differ{without}")
    if differ:
        raise typer.Exit(1)


def where(
    dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None, model: options.Model = None
) -> None:
    """Print the folder of the built dataset, for scripts; one line per output."""
    for layout, _ in options.open_outputs(dataset, out, name, model)[1]:
        print(layout.dataset)


def report(
    dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None, model: options.Model = None
) -> None:
    """Print what a build made, and the Python that loads it."""
    from preprocess.pipeline.report import build_table

    tables = [build_table(layout) for layout, _ in options.open_outputs(dataset, out, name, model)[1]]
    print("\n\n".join(tables))
