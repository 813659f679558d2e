"""The commands that give the samples another shape: `annotations`, `llama-factory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from preprocess import console, options

app = typer.Typer()


@app.command("annotations")
def export_annotations(
    dataset: options.Dataset,
    raw: Annotated[str, typer.Option(help="Raw folder, or the table file for `table`.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for train.json, val.json, test.json.", show_default=False)],
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
) -> None:
    """Write the split files that AdaCLIP reads."""
    from preprocess.exports.annotations import write_annotations
    from preprocess.pipeline.index import list_samples

    samples, folder = list_samples(dataset, raw, options.parse_shares(split), seed, split_protocol)
    written = write_annotations(samples, folder, out)
    print(console.table([(split, count, "videos") for split, count in written.written.items()], right=frozenset({1})))
    if written.missing:
        print(f"{len(written.missing):,} videos are not there and have no entry, first {written.missing[0]}")
    print(f"in {out}")


@app.command("llama-factory")
def export_llama_factory(
    raw: Annotated[Path, typer.Option(help="Raw folder of activitynet_qa.", show_default=False)],
    out: Annotated[Path, typer.Option(help="LLaMA-Factory's data folder; dataset_info.json is merged.")],
    type: Annotated[Literal["train", "val", "test"], typer.Option(help="Split of the questions.")] = "train",
    name: Annotated[str | None, typer.Option(help="File of questions, without .json. [default: <type>_q]")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Questions at most.")] = 250,
    min_seconds: Annotated[float, typer.Option(min=0, help="Videos must be longer than this.")] = 20,
) -> None:
    """Write ActivityNet-QA as sharegpt JSON for LLaMA-Factory."""
    from preprocess.exports.llama_factory import Choice, export

    done = export(raw, out, Choice(type, name, n, min_seconds))
    print(f"{done.questions:,} questions on {done.videos:,} videos in {done.file}")
    for reason, count in sorted(done.passed_over.items()):
        print(f"passed over: {count:,} {reason}")
