"""`python -m builders …`: proves, describes and publishes a folder of shards. Parses, calls, prints."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from preprocess.console import new_app, run

app = new_app("Shards to the Hub: verify, push, stats.")

CPUS = os.cpu_count() or 1

Folder = Annotated[str, typer.Argument(help="Folder of a packed dataset, or hf://datasets/<org>/<name>[@<revision>].")]
Workers = Annotated[int, typer.Option(help="Processes that read tars.", min=1)]


@app.command()
def verify(folder: Folder, workers: Workers = CPUS) -> None:
    """Checks every tar, table and number; exit code 1 when anything is wrong."""
    from builders.hub import local_folder
    from builders.verify import verify as verify_folder

    result = verify_folder(local_folder(folder), workers=workers)
    for finding in result.findings:
        print(finding)
    print(summary(result.samples, result.frames, result.tars, len(result.findings)))
    if result.findings:
        raise typer.Exit(1)


@app.command()
def stats(folder: Folder) -> None:
    """Prints what the manifest says: samples, frames, rejects, tars and bytes of each split."""
    from builders.hub import local_folder
    from builders.stats import describe
    from preprocess.formats.manifest import MANIFEST_FILE, read

    print(describe(read(local_folder(folder, only=MANIFEST_FILE) / MANIFEST_FILE)))


def summary(samples: int, frames: int, tars: int, findings: int) -> str:
    """The last line of `verify`."""
    verdict = f"{findings:,} thing{'s' * (findings != 1)} wrong." if findings else "all is well."
    return f"{samples:,} samples, {frames:,} frames in {tars:,} tars: {verdict}"


if __name__ == "__main__":
    run(app, "python -m builders")
