"""Command-line options that several commands share, with the words that explain them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from preprocess import console
from preprocess.console import finite
from preprocess.errors import REASONS, Reason, UnknownNameError, UserError
from preprocess.runtime.arguments import CpusPerActor as CpusPerActor
from preprocess.runtime.arguments import Executor as Executor
from preprocess.runtime.arguments import GpusPerActor as GpusPerActor
from preprocess.runtime.arguments import MemoryPerActor as MemoryPerActor
from preprocess.runtime.arguments import Workers as Workers
from preprocess.runtime.arguments import in_bytes
from preprocess.runtime.options import MAX_BATCH_SIZE
from preprocess.storage import output_location

if TYPE_CHECKING:
    from preprocess.formats.layout import Layout
    from preprocess.formats.slices import Slice
    from preprocess.media.sampling import Sampling
    from preprocess.recipes import Recipe
    from preprocess.runtime.options import RunOptions

MAX_SEED = 2**32 - 1
"""What the random generators of numpy, torch and Python take."""

MAX_COUNT = 10**9
"""Largest number of samples or frames that an option takes."""

MAX_REJECT_RATE = 0.05
JUDGED_FROM = 20
"""Samples from which the default rate counts: of fewer, a single one is more than 5 %."""

Dataset = Annotated[str, typer.Argument(help="Name of a dataset; `list` shows them.", show_default=False)]
Raw = Annotated[
    str | None,
    typer.Option(
        help="Raw folder or its URL; for `table` a file, for `webdataset` also {000..012}.tar, for `hub` org/name.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        help="Output folder, or an address such as s3://bucket/data.", metavar="PATH|URL", parser=output_location
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_BATCH_SIZE,
        help="Frames, or clips, per forward pass. [default: 32 frames, on a GPU 256]",
        show_default=False,
    ),
]
ProcessedAs = Annotated[
    Literal["files", "parts"] | None,
    typer.Option(
        "--processed",
        help="Write triples as `files` (three per sample) or `parts` (a tar per task). [default: as before, else files "
        "on this machine and parts in an object store]",
        show_default=False,
    ),
]
SlicePart = Annotated[
    str | None,
    typer.Option(
        "--slice",
        metavar="K/N",
        help="Encode every N-th sample only, from the K-th on (K from 1 to N). N such runs, on any machines with the "
        "same --out, make the output: `shards` joins them, or names those that are missing. [default: all samples]",
        show_default=False,
    ),
]
Name = Annotated[
    str | None, typer.Option(help="Folder and Hub name. [default: the model's family and the dataset's title]")
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Hub id or folder of a model, or tiny-clip; several, separated by spaces, share one decode. The family of "
        "each names its output. [default: the existing outputs, else the dataset's model]",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Shares of train, val, test where the raw data has no split. [default: 0.8,0.1,0.1]", show_default=False
    ),
]
Seed = Annotated[
    int | None, typer.Option(min=0, max=MAX_SEED, help="Seed of that split. [default: 0]", show_default=False)
]
Protocol = Annotated[
    str | None, typer.Option(help="Published split to use, where there are several.", show_default=False)
]


def _column(name: str, holds: str, usual: str, of: str = "`table`") -> Any:
    text = f"For {of}, the column of the {holds}. [default: {usual}]"
    return typer.Option(f"--{name}-col", help=text, show_default=False)


_BOTH = "`table` and `hub`"
UrlColumn = Annotated[str | None, _column("url", "path or URL, or of the videos", "videoLoc, or the only one", _BOTH)]
IdColumn = Annotated[str | None, _column("id", "id", "videoID, or the number of the row", _BOTH)]
CaptionColumn = Annotated[str | None, _column("caption", "caption", "caption", _BOTH)]
LabelColumn = Annotated[str | None, _column("label", "class", "label", _BOTH)]
SplitColumn = Annotated[str | None, _column("split", "split", "split")]
StartColumn = Annotated[str | None, _column("start", "start of the part to use, in seconds", "start_time")]
EndColumn = Annotated[str | None, _column("end", "end of that part", "end_time")]
Config = Annotated[
    str | None,
    typer.Option(
        help="For `hub`, the configuration (subset) of the dataset. [default: its default]", show_default=False
    ),
]
Fps = Annotated[float | None, typer.Option(callback=finite, help="Frames per second. [default: 1]", show_default=False)]
FrameSampling = Annotated[
    str | None,
    typer.Option(
        help="Instead of --fps: every_nth=N, num_frames=N (uniform) or segment=N (middles).", show_default=False
    ),
]
Device = Annotated[str, typer.Option(help="auto (every GPU, else the CPU), cpu, cuda, cuda:N.")]
TimeLimit = Annotated[float, typer.Option(callback=finite, help="Seconds one video may take.")]
MaxMemory = Annotated[
    float | None,
    typer.Option(callback=finite, help="Gigabytes one worker may hold. [default: its share]", show_default=False),
]
MaxRejectRate = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        callback=finite,
        help=f"Share of samples that may fail to decode before the run counts as failed. [default: {MAX_REJECT_RATE}, "
        f"from {JUDGED_FROM} samples on]",
        show_default=False,
    ),
]
CheckUrls = Annotated[
    bool,
    typer.Option(help="Ask the servers of media given by URL whether it changed since it was encoded."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the existing output first.")]


def open_outputs(
    dataset: str, out: Path, name: str | None, model: str | None = None
) -> tuple[Recipe, list[tuple[Layout, str | None]]]:
    """The recipe, and where each of its outputs lies, with the model that was named for it.

    There is one output per model, named after its family and the dataset's title. Without a model these are all outputs
    of the dataset that exist, else the one of its default model. A name stands for one output, whatever the model.

    Raises:
        UnknownNameError: There is no such dataset.
        UserError: The name cannot be that of a folder and Hub repository, a model is unavailable, or two outputs would
            have the same name.
    """
    from preprocess.formats.layout import Layout, check_name
    from preprocess.pipeline.outputs import existing_outputs
    from preprocess.recipes import load
    from preprocess.samples import dataset_name

    recipe, models = load(dataset), split_models(model)
    if name is not None:
        check_name(name)
        if len(models) > 1:
            raise UserError(f"one name, {name!r}, for {len(models)} models", "Leave NAME= out, or name one model.")
        return recipe, [(Layout(out, name), models[0] if models else None)]
    if not models and (found := existing_outputs(dataset, out)):
        return recipe, [(layout, None) for layout in found]
    from preprocess.encoders import family_title

    names = [dataset_name(family_title(one), recipe.SPEC.title) for one in models or (recipe.SPEC.encoder,)]
    for twice in names:
        if names.count(twice) > 1:
            raise UserError(f"two models would write {twice}", "Build them one by one, each with its own NAME=.")
    return recipe, [(Layout(out, name), one) for name, one in zip(names, models or (None,), strict=True)]


def open_dataset(dataset: str, out: Path, name: str | None, model: str | None = None) -> tuple[Recipe, Layout]:
    """As `open_outputs`, for commands that work on one output.

    Raises:
        UserError: There are several.
    """
    recipe, outputs = open_outputs(dataset, out, name, model)
    if len(outputs) > 1:
        names = [layout.hub_name for layout, _ in outputs]
        raise UserError(f"{dataset} has several outputs: {', '.join(names)}", f"Name one: NAME={names[0]}.")
    return recipe, outputs[0][0]


def split_models(text: str | None) -> list[str]:
    """The models that the user names, separated by spaces; a folder whose path has spaces is one model.

    Examples:
        >>> split_models("openai/clip-vit-base-patch32 google/siglip2-base-patch16-224")
        ['openai/clip-vit-base-patch32', 'google/siglip2-base-patch16-224']
    """
    if text is None:
        return []
    return [text] if Path(text).expanduser().is_dir() else text.split()


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


def check_slice(text: str | None, recipe: Recipe, processed: str | None) -> Slice | None:
    """The slice that --slice names; None where nothing is named.

    Raises:
        UserError: It is not K/N, or the dataset or another option does not go with slices.
    """
    from preprocess.formats.slices import Slice

    if text is None:
        return None
    part = Slice.parse(text)
    if processed == "files":
        raise UserError("--processed files and --slice were both given", "Slices are written as parts: leave it out.")
    if hasattr(recipe, "prepare"):
        raise UserError(
            f"{recipe.SPEC.name} makes its raw data itself, for one run at a time", "Run encode without --slice."
        )
    return part


def parse_reasons(text: str | None) -> tuple[Reason, ...]:
    """'missing,timeout' as reasons; all of them where nothing is named.

    Raises:
        UnknownNameError: There is no such reason.
    """
    names = REASONS if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in REASONS:
            raise UnknownNameError("reason of a reject", name, REASONS)
    return tuple(reason for reason in REASONS if reason in names)


def given(ctx: typer.Context, values: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The values of options: as on the command line, else as before, else the default."""

    def is_default(name: str) -> bool:
        source = ctx.get_parameter_source(name)
        return source is None or source.name.startswith("DEFAULT")

    return {name: before[name] if name in before and is_default(name) else value for name, value in values.items()}


def named_columns(**names: str | None) -> dict[str, str] | None:
    """What the user calls the columns of a table, as `RecipeOptions.columns` has it; None where nothing is named."""
    return {what: name for what, name in names.items() if name is not None} or None


def parse_sampling(fps: float | None, text: str | None) -> Sampling | None:
    """The sampling that --fps or --sampling names, or None where neither is given.

    Raises:
        UserError: Both are given, or the value is not usable.
    """
    from preprocess.media.sampling import Sampling

    if fps is not None and text is not None:
        raise UserError("--fps and --sampling were both given", "Give one of them.")
    if fps is not None:
        return Sampling.parse(f"fps={fps!r}")
    return None if text is None else Sampling.parse(text)


def check_reject_rate(rejects: Mapping[str, int], samples: int, allowed: float | None, ledger: Path) -> None:
    """Ends the command with exit code 1 when more samples failed to decode than are allowed to.

    Args:
        rejects: How many there are of each reason; missing files are not failures.
        samples: How many there are in all.
        allowed: Their share that may fail; None for `MAX_REJECT_RATE`, from `JUDGED_FROM` samples on.
        ledger: The file with the reasons.
    """
    if allowed is None and samples < JUDGED_FROM:
        return
    rate = MAX_REJECT_RATE if allowed is None else allowed
    failed = sum(n for reason, n in rejects.items() if reason not in ("missing", "download_failed", "duplicate"))
    if failed > rate * samples:
        enough = math.ceil(100 * failed / samples) / 100
        console.fail(
            f"{failed} of {samples} samples could not be decoded, more than --max-reject-rate {rate!r}. {ledger} has "
            f"the reasons: repair the files and retry, or allow more: --max-reject-rate {enough:g} "
            f'(with make: ARGS="--max-reject-rate {enough:g}").',
            exit_code=1,
        )


def run_options(
    workers: int | None,
    time_limit: float,
    max_memory: float | None,
    executor: str,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    retry: Collection[Reason] = (),
    cpus_per_actor: int | None = None,
    gpus_per_actor: int | None = None,
    memory_per_actor: float | None = None,
) -> RunOptions:
    """The runtime options of a command line, checked before anything is written.

    Args:
        workers: Worker processes.
        time_limit: Seconds for one item.
        max_memory: Gigabytes for one worker.
        executor: Name of an executor.
        device: Where models run.
        batch_size: Rows per forward pass.
        retry: Reasons of rejects that are tried again.
        cpus_per_actor: Cores of an actor of a Ray cluster.
        gpus_per_actor: GPUs of one.
        memory_per_actor: Gigabytes reserved for one.

    Raises:
        UserError: A value is out of range, there is no such executor, or the device cannot be used here.
    """
    from preprocess.runtime.executors import find_executor
    from preprocess.runtime.options import RunOptions

    memory, of_actor = in_bytes("--max-memory", max_memory), in_bytes("--memory-per-actor", memory_per_actor)
    find_executor(executor)
    actor = (cpus_per_actor, gpus_per_actor, of_actor)
    options = RunOptions(workers, device, batch_size, time_limit, memory, frozenset(retry), executor, *actor)
    if device not in ("auto", "cpu") and executor != "ray":  # for these two, it is not necessary to wait for torch here
        from preprocess.encoders.devices import choose_device

        choose_device(device)
    return options
