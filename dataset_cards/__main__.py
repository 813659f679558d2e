"""`python -m dataset_cards`: the card of a dataset, and the evaluation that stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preprocess.console import new_app, run

app = new_app("What a Hub page says of a dataset: evaluation, figures, card.")

Dataset = Annotated[str, typer.Argument(help="Name of the dataset; `python -m preprocess list` shows them.")]
Out = Annotated[Path, typer.Option(help="Folder that holds the built datasets.")]
Name = Annotated[str | None, typer.Option(help="Name of the dataset's folder, if not the recipe's own.")]


@app.callback()
def _commands() -> None:
    """Keeps the commands apart by name, however many there are."""


@app.command()
def card(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    org: Annotated[str | None, typer.Option(help="Organisation on the Hub, for the lines that load it.")] = None,
) -> None:
    """Write README.md of a built dataset."""
    from dataset_cards.card import write_card
    from dataset_cards.facts import Location, read_facts
    from preprocess import recipes

    spec = recipes.load(dataset).SPEC
    typer.echo(write_card(read_facts(spec, Location.below(out, name or spec.hub_name), org)))


if __name__ == "__main__":
    run(app, "python -m dataset_cards")
