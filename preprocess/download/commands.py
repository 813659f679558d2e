"""The command `download`. Parses, calls, prints."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from preprocess import console, options
from preprocess.errors import UserError

app = typer.Typer()


@app.command("download")
def download_raw(
    dataset: options.Dataset,
    raw: Annotated[
        str | None, typer.Option(help="Folder for the raw files. [default: show them only]", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Download only what matches, such as 'annotations/*'; may be repeated.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Download nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a large download.")] = False,
) -> None:
    """Show which raw files a dataset needs and has, and download those with a public address.

    Interrupted downloads continue where they stopped. Archives are unpacked, then removed. More than 10 GB have to be
    confirmed, at the terminal or with --yes.
    """
    from preprocess.download.run import download, free_bytes, raw_folder, to_download
    from preprocess.download.size import remaining
    from preprocess.download.state import state_table, states
    from preprocess.recipes import load

    spec = load(dataset).SPEC
    if not spec.remotes:
        print(spec.raw_layout.strip("\n"))
        print(f"\n{dataset} has nothing to download")
        return
    folder = raw_folder(raw) if raw else None
    found = states(spec, folder)
    todo = to_download(found, only or [])
    print(state_table(spec, found))
    if folder is None or show or not todo:
        _say_what_is_left(dataset, raw, [state.remote.path for state in found if state.status != "found"])
        return
    size = remaining(todo, folder)
    free = free_bytes(folder)
    print(f"\ndownloading {size} to {folder}: {', '.join(remote.path for remote in todo)}", flush=True)
    if size.bytes > free:
        raise UserError(
            f"{size} do not fit: {console.human_bytes(free)} are free on the disk of {folder}",
            "Name a folder on another disk, or download a part: --only 'PATTERN'.",
        )
    if size.is_large and not yes:
        _confirm(f"{size} to download", free)
    failures = []
    for outcome in download(todo, folder):
        if outcome.error:
            failures.append(outcome.error)
        print(console.printable(f"{outcome.remote.path}: {outcome.error or 'downloaded'}"), flush=True)
    if failures:
        raise UserError(
            f"{len(failures)} of {len(todo)} could not be downloaded, as listed above",
            "Run the same command again: the part that was downloaded is kept.",
        )
    left = [state.remote.path for state in states(spec, folder) if state.status != "found"]
    _say_what_is_left(dataset, raw, left)


def _confirm(what: str, free: int) -> None:
    """Asks at a terminal whether to go on.

    Raises:
        UserError: The answer is no, or there is nobody to answer.
    """
    remedy = "Add --yes to download all of it (make: ARGS=--yes), or download a part: --only 'PATTERN'."
    if not sys.stdin.isatty():
        raise UserError(what, remedy)
    if not typer.confirm(f"{what}; {console.human_bytes(free)} are free. Continue?"):
        raise UserError("nothing was downloaded", remedy)


def _say_what_is_left(dataset: str, raw: str | None, left: list[str]) -> None:
    if raw is None:
        print(f"\nTo download what has a public address: make download DATASET={dataset} RAW=<folder>")
    elif left:
        print(f"\nnot there: {', '.join(left)}. See above for how to obtain it.")
    else:
        print(f"\nEverything is there: make build DATASET={dataset} RAW={shlex.quote(raw)}")
