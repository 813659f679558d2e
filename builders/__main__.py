"""`python -m builders …`: verifies, describes and publishes a folder of shards. Parses, calls, prints."""

from __future__ import annotations

if __name__ == "__main__":
    from preprocess import interrupts

    interrupts.end_at_once()  # until `run` takes over

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builders.export_folder import SOURCE_FILE
from preprocess.console import finite, human_bytes, new_app, run, table
from preprocess.errors import UserError
from preprocess.runtime.arguments import CpusPerActor, Executor, MemoryPerActor, in_bytes
from preprocess.runtime.machine import usable_cores
from preprocess.runtime.options import MAX_WORKERS, RunOptions
from preprocess.storage import is_remote, location

if TYPE_CHECKING:
    from builders.verify import Verification

app = new_app("Shards to the Hub and to other formats: verify, diff, push, stats, parquet, features.")

CPUS = usable_cores()

Folder = Annotated[
    str,
    typer.Argument(
        help="Folder of a packed dataset, such as data/CLIP-Shapes or s3://bucket/data/CLIP-Shapes, or "
        "hf://datasets/<org>/<name>[@<revision>]."
    ),
]
Workers = Annotated[int, typer.Option(help="Processes that read tars.", min=1, max=MAX_WORKERS)]


@app.command()
def verify(
    folder: Folder,
    workers: Workers = CPUS,
    executor: Executor = "local",
    cpus_per_actor: CpusPerActor = None,
    memory_per_actor: MemoryPerActor = None,
) -> None:
    """Check every tar, table and number; exit code 1 if there is any problem.

    `python -m preprocess recheck` also encodes samples again from the raw files and compares them.
    """
    from builders.hub import is_hub, local_folder
    from builders.verify import verify as verify_folder

    memory = in_bytes("--memory-per-actor", memory_per_actor)
    where = RunOptions(workers, executor=executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory)
    result = verify_folder(local_folder(folder), run=where, cached=is_hub(folder))
    _report(result)
    if result.findings:
        raise typer.Exit(1)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a packed dataset.", metavar="FOLDER", parser=location)],
    org: Annotated[str, typer.Option(help="User or organization that owns the repository.")],
    public: Annotated[bool, typer.Option("--public", help="Make a repository that is created now public.")] = False,
    tag: Annotated[
        str | None, typer.Option(help="Name of this version. [default: v1, v2, …]", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify and list the files; send nothing.")] = False,
    workers: Workers = CPUS,
) -> None:
    """Verify, upload to <org>/<folder's name>, tag the version and print the address of its page.

    The address is written into the code of README.md that loads the dataset.
    """
    from builders import push as pushing
    from builders.hub import check_org
    from builders.verify import verify as verify_folder

    check_org(org)
    if is_remote(folder):
        raise UserError(
            f"{folder} is in an object store, and what is sent to the Hub is read from this machine",
            "Copy the folder first; docs/bucket.md says how.",
        )
    result = verify_folder(folder, run=RunOptions(workers))
    _report(result)
    if result.findings:
        print("Nothing was sent.")
        raise typer.Exit(1)
    repo_id = f"{org}/{folder.resolve().name}"
    if dry_run:
        files = pushing.files_to_push(folder)
        rows = [(path, human_bytes(size)) for path, size in files]
        total = (f"{len(files)} files to {repo_id}", human_bytes(sum(size for _, size in files)))
        print(table([*rows, total], frozenset({1})))
        return
    if pushing.write_address(folder, repo_id):
        print(f"README.md now loads the dataset from {repo_id}")
    pushed = pushing.push(folder, repo_id, public=public, tag=tag)
    print(f"{pushed.url}  {pushed.tag}  {'private' if pushed.private else 'public'}")
    print(f'load_dataset("{repo_id}", revision="{pushed.tag}")')


@app.command()
def stats(folder: Folder) -> None:
    """Print what the manifest says: samples, frames, rejects, shards and size of each split."""
    from builders.hub import local_folder
    from preprocess.formats.manifest import MANIFEST_FILE, read
    from preprocess.formats.manifest_table import describe

    print(describe(read(local_folder(folder, only=MANIFEST_FILE) / MANIFEST_FILE)))


@app.command()
def parquet(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder of the Parquet files; an earlier export is replaced.")],
) -> None:
    """Write the rows as Parquet, one per frame: key, split, time, label, text, embedding.

    DuckDB, Polars, `datasets` and other readers of Parquet open it; `source.json` names the dataset and the model.
    """
    from builders.parquet_rows import write_parquet

    done = write_parquet(folder, out)
    size = human_bytes(sum(path.stat().st_size for path in done.files))
    print(f"{done.rows:,} rows of {done.samples:,} samples in {len(done.files):,} files in {out}, {size}")


@app.command()
def features(
    folder: Folder,
    layout: Annotated[str, typer.Option(help="moment-detr, lighthouse, actionformer or vadclip.")],
    out: Annotated[Path, typer.Option(help="Folder of the files; an earlier export is replaced.")],
    clip_length: Annotated[
        float | None,
        typer.Option(
            help="Seconds per row, for moment-detr and lighthouse. [default: 2]",
            min=0.001,
            max=10**6,
            callback=finite,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the rows as features for a project that trains temporal models, named and arranged as its loader expects.

    `source.json` says the model, the sampling and the stride. Timed captions become queries and segments.
    """
    from builders.temporal.write import write_features

    done = write_features(folder, layout, out, clip_length)
    print(f"{done.videos:,} videos in {out} for {layout}; {SOURCE_FILE} says how their rows lie in time")
    if done.empty:
        print(f"{done.empty:,} samples without a row were left out")
    if done.source.get("not_listed_without_label"):
        print(f"{done.source['not_listed_without_label']:,} videos have no label and are in no list")


@app.command()
def diff(
    old: Folder,
    new: Folder,
    limit: Annotated[
        int, typer.Option(help="Samples of each kind in the table, the most changed first.", min=0, max=10**9)
    ] = 20,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Also write all samples to this file, as JSON.", metavar="FILE", show_default=False
        ),
    ] = None,
) -> None:
    """Compare two datasets: which samples were added, removed or changed; exit code 1 if there is a difference.

    Samples are compared by key, whatever their ids and tars. Of a changed sample the table shows the number of rows,
    the lowest and the mean cosine of rows with the same timestamp, and what differs: vectors (npy), text (txt), keys of
    the metadata. Tars that both manifests list with the same SHA-256 are not read: verify the datasets first.
    """
    from builders.diff import compare
    from builders.diff_table import describe

    difference = compare(old, new)
    print(describe(difference, limit, json_file))
    if difference:
        raise typer.Exit(1)


def _report(result: Verification) -> None:
    """Prints the findings and a summary line."""
    for finding in result.findings:
        print(finding)
    count = len(result.findings)
    verdict = f"{count:,} problem{'s' * (count != 1)} found" if count else "OK"
    print(f"{result.samples:,} samples, {result.frames:,} frames in {result.tars:,} tars: {verdict}")


if __name__ == "__main__":
    run(app, "python -m builders")
