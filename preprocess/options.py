"""Command-line options that several commands share, with the words that explain them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preprocess import console
from preprocess.errors import UserError

if TYPE_CHECKING:
    from preprocess.formats.layout import Layout
    from preprocess.media.sampling import Sampling
    from preprocess.recipes import Recipe

Dataset = Annotated[str, typer.Argument(help="Name of a dataset; `list` shows them.", show_default=False)]
Raw = Annotated[str | None, typer.Option(help="Raw folder, or the table file for `table`.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Output folder.")]
Name = Annotated[str | None, typer.Option(help="Folder and Hub name instead of the dataset's own.", show_default=False)]
Split = Annotated[
    str | None,
    typer.Option(
        help="Shares of train, val, test where the raw data has no split. [default: 0.8,0.1,0.1]", show_default=False
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of that split. [default: 0]", show_default=False)]
Protocol = Annotated[
    str | None, typer.Option(help="Published split to use, where there are several.", show_default=False)
]
Fps = Annotated[float | None, typer.Option(help="Frames a second. [default: 1]", show_default=False)]
FrameSampling = Annotated[
    str | None,
    typer.Option(
        help="Instead of --fps: every_nth=N, num_frames=N (uniform) or segment=N (middles).", show_default=False
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: one a core]", show_default=False)]
Device = Annotated[str, typer.Option(help="auto (every GPU, else the CPU), cpu, cuda, cuda:N.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds one video may take.")]
MaxMemory = Annotated[
    float | None, typer.Option(help="Gigabytes one worker may hold. [default: its share]", show_default=False)
]
MaxRejectRate = Annotated[
    float, typer.Option(min=0, max=1, help="Share of samples that may fail to decode before the run counts as failed.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away what is there and start afresh.")]


def open_dataset(dataset: str, out: Path, name: str | None) -> tuple[Recipe, Layout]:
    """The recipe, and where its output lies.

    Raises:
        UnknownNameError: There is no such dataset.
        UserError: The name cannot be that of a folder and Hub repository.
    """
    from preprocess.formats.layout import Layout
    from preprocess.recipes import load
    from preprocess.samples import HUB_NAME

    recipe = load(dataset)
    if name is not None and not HUB_NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot be the name of a Hub repository", "Use letters, digits, '.', '_' and '-'.")
    return recipe, Layout(out, name or recipe.SPEC.hub_name)


def parse_shares(split: str | None) -> tuple[float, float, float] | None:
    """'0.8,0.1,0.1' as three numbers.

    Raises:
        UserError: They are not three shares that sum to 1.
    """
    from preprocess.samples import RecipeOptions

    if split is None:
        return None
    try:
        train, val, test = (float(share) for share in split.split(","))
        return RecipeOptions(split=(train, val, test)).split
    except ValueError as error:
        raise UserError(f"--split {split!r} is not three shares that sum to 1", "Write --split 0.8,0.1,0.1.") from error


def parse_sampling(fps: float | None, text: str | None) -> Sampling | None:
    """The sampling that --fps or --sampling names, or None where neither is given.

    Raises:
        UserError: Both are given, or the value is not usable.
    """
    from preprocess.media.sampling import Sampling

    if fps is not None and text is not None:
        raise UserError("--fps and --sampling were both given", "Give one of them.")
    if fps is not None:
        return Sampling.parse(f"fps={fps:g}")
    return None if text is None else Sampling.parse(text)


def check_reject_rate(rejects: Mapping[str, int], samples: int, allowed: float, ledger: Path) -> None:
    """Ends the command with exit code 1 when more samples failed to decode than are allowed to.

    Args:
        rejects: How many there are of each reason; files that are not there are no failures.
        samples: How many there are in all.
        allowed: Their share that may fail.
        ledger: The file with the reasons.
    """
    failed = sum(n for reason, n in rejects.items() if reason not in ("missing", "download_failed"))
    if failed > allowed * samples:
        console.fail(
            f"{failed} of {samples} samples could not be decoded, more than --max-reject-rate {allowed:g}. "
            f"{ledger} has the reasons: mend the files and retry, or allow a higher rate.",
            exit_code=1,
        )


def gigabytes(number: float | None) -> int | None:
    """Gigabytes as bytes."""
    return None if number is None else int(number * 1e9)
