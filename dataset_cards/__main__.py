"""`python -m dataset_cards`: the card of a dataset, and the evaluation that stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preprocess.console import new_app, run
from preprocess.formats.layout import Layout
from preprocess.recipes import load

app = new_app("What a Hub page says of a dataset: evaluation, figures, card.")

Dataset = Annotated[str, typer.Argument(help="Name of the dataset; `python -m preprocess list` shows them.")]
Out = Annotated[Path, typer.Option(help="Folder that holds the built datasets.")]
Name = Annotated[str | None, typer.Option(help="Name of the dataset's folder, if not the recipe's own.")]


@app.command()
def card(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    org: Annotated[str | None, typer.Option(help="Organisation on the Hub, for the lines that load it.")] = None,
) -> None:
    """Write README.md of a built dataset."""
    from dataset_cards.card import write_card
    from dataset_cards.facts import read_facts

    typer.echo(write_card(read_facts(load(dataset).SPEC, _layout(dataset, out, name), org)))


@app.command()
def evaluate(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="zero-shot, linear-probe, retrieval or leakage; may be given several times. [default: all]",
            show_default=False,
        ),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(help="Text file of prompts, {} for the label. [default: our own]", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the linear probe.")] = 0,
    near_duplicate: Annotated[
        float, typer.Option(min=0, max=1, help="Cosine from which two videos count as near-duplicates.")
    ] = 0.98,
    model: Annotated[
        str | None,
        typer.Option(help="Folder of the model, where its name alone does not lead to it.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Evaluate again what was evaluated already.")] = False,
) -> None:
    """Measure the embeddings: zero-shot, linear probe, retrieval, near-duplicates across splits."""
    from dataset_cards.evaluation.run import FILE, TASKS, Options
    from dataset_cards.evaluation.run import evaluate as run_tasks
    from dataset_cards.evaluation.zero_shot import read_templates
    from preprocess.encoders.devices import choose_device
    from preprocess.errors import UnknownNameError

    for unknown in set(task or ()) - set(TASKS):
        raise UnknownNameError("task", unknown, TASKS)
    layout = _layout(dataset, out, name)
    options = Options(
        tasks=tuple(t for t in TASKS if not task or t in task),
        templates=read_templates(templates) if templates else read_templates(),
        seed=seed,
        near_duplicate=near_duplicate,
        model=model,
        device=choose_device(device)[0],
    )
    result = run_tasks(layout, options, overwrite)
    for one in options.tasks:
        typer.echo(f"{one}: {'done' if one.replace('-', '_') in result else 'does not apply to this dataset'}")
    typer.echo(layout.work / FILE)


@app.command()
def page(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Render the card as a web page, to look at it before it is pushed."""
    from dataset_cards.page import write_page

    path = write_page(_layout(dataset, out, name))
    typer.echo(path)
    if show:
        typer.launch(str(path))


@app.command()
def example(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    check: Annotated[bool, typer.Option("--check", help="Compare with the example instead of replacing it.")] = False,
) -> None:
    """Keep card and figures of a built dataset as the committed example, or compare them with it."""
    from dataset_cards import example as examples

    layout = _layout(dataset, out, name)
    if not check:
        for path in examples.keep(layout):
            typer.echo(path)
        return
    problems = examples.compare(layout)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("the build gives the committed example")


def _layout(dataset: str, out: Path, name: str | None) -> Layout:
    return Layout(out, name or load(dataset).SPEC.hub_name)


if __name__ == "__main__":
    run(app, "python -m dataset_cards")
