"""`python -m dataset_cards`: the card of a dataset, and the evaluation that it reports."""

from __future__ import annotations

if __name__ == "__main__":
    from preprocess import interrupts

    interrupts.end_at_once()  # until `run` takes over

import math
from pathlib import Path
from typing import Annotated

import typer

from preprocess.console import finite, new_app, run
from preprocess.options import (
    MAX_SEED,
    CpusPerActor,
    Executor,
    MemoryPerActor,
    Model,
    Name,
    Out,
    open_dataset,
    open_outputs,
    run_options,
)
from preprocess.runtime.options import MAX_WORKERS
from preprocess.storage import is_remote, keep_copies

app = new_app("The Hub page of a dataset: evaluation, figures, card.")

Dataset = Annotated[str, typer.Argument(help="Name of the dataset; `python -m preprocess list` shows them.")]


@app.command()
def card(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    model: Model = None,
    org: Annotated[str | None, typer.Option(help="Organization on the Hub, for the code that loads it.")] = None,
) -> None:
    """Write README.md of a built dataset."""
    from dataset_cards.card import write_card
    from dataset_cards.card_inputs import read_card_inputs

    recipe, outputs = open_outputs(dataset, out, name, model)
    for layout, _ in outputs:
        with keep_copies():
            typer.echo(write_card(read_card_inputs(recipe.SPEC, layout, org)))


@app.command()
def evaluate(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    model: Model = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="zero-shot, linear-probe, retrieval, moments or leakage; may be given several times. [default: all]",
            show_default=False,
        ),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(
            help="Text file with one prompt per line, {} for the label. [default: built-in prompts]", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the linear probe.")] = 0,
    near_duplicate: Annotated[
        float,
        typer.Option(
            min=0, max=1, callback=finite, help="Pairs with at least this cosine similarity count as near-duplicates."
        ),
    ] = 0.98,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, max=MAX_WORKERS, help="Processes that read tars.")] = 1,
    executor: Executor = "local",
    cpus_per_actor: CpusPerActor = None,
    memory_per_actor: MemoryPerActor = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Repeat finished evaluations.")] = False,
) -> None:
    """Measure the embeddings: zero-shot, linear probe, retrieval, near-duplicates across splits."""
    from dataset_cards.evaluation.run import FILE, TASKS, Options
    from dataset_cards.evaluation.run import evaluate as run_tasks
    from dataset_cards.evaluation.zero_shot import read_templates
    from dataset_cards.results import summary
    from preprocess.encoders.devices import choose_device
    from preprocess.errors import UnknownNameError

    for unknown in set(task or ()) - set(TASKS):
        raise UnknownNameError("task", unknown, TASKS)
    reading = run_options(
        workers, math.inf, None, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    for layout, named in open_outputs(dataset, out, name, model)[1]:
        options = Options(
            tasks=tuple(t for t in TASKS if not task or t in task),
            templates=read_templates(templates) if templates else (),
            seed=seed,
            near_duplicate=near_duplicate,
            model=named,
            device=choose_device(device)[0],
            run=reading,
        )
        with keep_copies():
            result = run_tasks(layout, options, overwrite)
        typer.echo(f"{summary(layout.hub_name, result)}\n\n{layout.work / FILE}\n")


@app.command()
def page(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    model: Model = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Render the card as a web page, to view it before it is pushed."""
    from dataset_cards.page import can_open, write_page
    from preprocess.errors import UserError

    if is_remote(out):
        raise UserError(f"a page of {out} would be in the store, where no browser opens it", "Copy the output first.")
    path = write_page(open_dataset(dataset, out, name, model)[1])
    typer.echo(path)
    if show and can_open():  # without a display, xdg-open prints the errors of every browser that it tries
        typer.launch(str(path))


if __name__ == "__main__":
    run(app, "python -m dataset_cards")
