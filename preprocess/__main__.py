"""The command line: `python -m preprocess …`. Parses, calls, prints; nothing else happens here."""

from __future__ import annotations

if __name__ == "__main__":
    from preprocess import interrupts

    interrupts.end_at_once()  # until `run` takes over

from pathlib import Path
from typing import Annotated

import typer

from preprocess import console
from preprocess.commands.build import build, retry
from preprocess.commands.encode import encode
from preprocess.commands.made import recheck, report, unpack, where
from preprocess.commands.samples import samples
from preprocess.commands.shards import shards
from preprocess.download.commands import app as download
from preprocess.errors import UserError
from preprocess.exports.commands import app as exports
from preprocess.long_video.commands import app as long_video

app = console.new_app(
    "Raw videos and images to embeddings in WebDataset shards.\n\n"
    "The usual way is `make build DATASET=…`, which runs samples, encode and shards, writes the card and verifies. "
    "Every command can be run again: finished work is not repeated."
)


@app.command("list")
def list_datasets() -> None:
    """List the datasets that can be built."""
    from preprocess.recipes import load, names

    specs = [(name, load(name).SPEC) for name in names()]
    rows = [(name, spec.title, spec.license, spec.homepage) for name, spec in specs]
    rows.append(("long-demo", "long-demo", load("demo").SPEC.license, "(a training set for long-video models)"))
    print(console.table([("dataset", "title", "license", "homepage"), *sorted(rows)]))


for command in (samples, encode, retry, shards, unpack, recheck, where, report):
    app.command()(command)


@app.command()
def new(
    dataset: Annotated[str, typer.Argument(help="Name of the new dataset, such as ucf101.", show_default=False)],
) -> None:
    """Start a dataset: a recipe, prose for its card, a fixture."""
    from preprocess.scaffold import scaffold

    root = Path(__file__).resolve().parent.parent
    if not (root / "tests" / "recipes").is_dir():
        raise UserError(
            f"{root} is not a checkout of the project, and a new dataset is part of the source",
            "Clone the repository and run the command there.",
        )
    for path in scaffold(dataset, root):
        print(f"wrote {path.relative_to(root)}")
    print(f"Edit the recipe, then: make test ARGS='-k {dataset}' and make build DATASET={dataset} RAW=…")


app.command("build", help="Raw data to shards: encode, then shards.")(build)
app.add_typer(download)
app.add_typer(exports)
app.add_typer(long_video, name="long-video")

if __name__ == "__main__":
    console.run(app, "python -m preprocess")
