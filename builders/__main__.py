"""`python -m builders …`: proves, describes and publishes a folder of shards. Parses, calls, prints."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preprocess.console import new_app, run, table
from preprocess.errors import UserError

if TYPE_CHECKING:
    from builders.verify import Verification

app = new_app("Shards to the Hub: verify, push, stats.")

CPUS = os.cpu_count() or 1

Folder = Annotated[str, typer.Argument(help="Folder of a packed dataset, or hf://datasets/<org>/<name>[@<revision>].")]
Workers = Annotated[int, typer.Option(help="Processes that read tars.", min=1)]


@app.command()
def verify(
    folder: Folder,
    workers: Workers = CPUS,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Encode so many samples again and compare.", show_default=False)
    ] = None,
    raw: Annotated[
        str | None, typer.Option(help="Their raw folder or table. [default: as in the build]", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Their recipe, for a folder that was not built here.", show_default=False)
    ] = None,
) -> None:
    """Checks every tar, table and number; exit code 1 when anything is wrong."""
    from builders.encode_again import encode_again
    from builders.hub import local_folder
    from builders.verify import verify as verify_folder

    if sample is None and (raw or dataset):
        raise UserError("--raw and --dataset are for samples that are encoded again", "Say how many: --sample 100.")
    place = local_folder(folder)
    result = verify_folder(place, workers=workers)
    if sample is not None:
        try:
            found, line = encode_again(place, sample, dataset=dataset, raw=raw, workers=workers)
        except UserError:
            _report(result)
            raise
        result = replace(result, findings=tuple(sorted((*result.findings, *found))))
        print(line)
    _report(result)
    if result.findings:
        raise typer.Exit(1)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a packed dataset.")],
    org: Annotated[str, typer.Option(help="User or organisation that the repository belongs to.")],
    public: Annotated[bool, typer.Option("--public", help="Everyone can see a repository made now.")] = False,
    tag: Annotated[str | None, typer.Option(help="Name of this version; v1, v2, … where none is given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, list the files, send nothing.")] = False,
    workers: Workers = CPUS,
) -> None:
    """Verifies, then uploads to <org>/<folder's name>, tags the version and prints the page's address."""
    from builders import push as pushing
    from builders.verify import verify as verify_folder

    result = verify_folder(folder, workers=workers)
    _report(result)
    if result.findings:
        print("Nothing was sent.")
        raise typer.Exit(1)
    repo_id = f"{org}/{folder.resolve().name}"
    if dry_run:
        files = pushing.files_to_push(folder)
        print(table([*files, (f"{len(files)} files to {repo_id}", sum(size for _, size in files))], frozenset({1})))
        return
    pushed = pushing.push(folder, repo_id, public=public, tag=tag)
    print(f"{pushed.url}  {pushed.tag}  {'private' if pushed.private else 'public'}")
    print(f'load_dataset("{repo_id}", revision="{pushed.tag}")')


@app.command()
def stats(folder: Folder) -> None:
    """Prints what the manifest says: samples, frames, rejects, tars and bytes of each split."""
    from builders.hub import local_folder
    from builders.stats import describe
    from preprocess.formats.manifest import MANIFEST_FILE, read

    print(describe(read(local_folder(folder, only=MANIFEST_FILE) / MANIFEST_FILE)))


def _report(result: Verification) -> None:
    """Prints the findings, and a line that sums up."""
    for finding in result.findings:
        print(finding)
    wrong = len(result.findings)
    verdict = f"{wrong:,} thing{'s' * (wrong != 1)} wrong." if wrong else "all is well."
    print(f"{result.samples:,} samples, {result.frames:,} frames in {result.tars:,} tars: {verdict}")


if __name__ == "__main__":
    run(app, "python -m builders")
