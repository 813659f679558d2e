"""The commands of all packages under one name; `build` and `retry` go on to the finished dataset, as with make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from builders.__main__ import app as builders
from builders.__main__ import verify
from dataset_cards.__main__ import app as dataset_cards
from dataset_cards.__main__ import card, evaluate
from explorer.__main__ import app as explorer
from preprocess.__main__ import app as preprocess
from preprocess.commands.build import build, retry
from preprocess.commands.made import report
from preprocess.console import new_app
from preprocess.options import open_outputs


def _finished(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the same options that also evaluates, writes the card, verifies and says what was built."""

    @functools.wraps(command)
    def finished(**values: Any) -> None:
        command(**values)
        where = {name: values[name] for name in ("dataset", "out", "name", "model")}
        there = {name: values[name] for name in ("executor", "cpus_per_actor", "memory_per_actor")}
        evaluate(**where, **there)
        card(**where)
        for layout, _ in open_outputs(**where)[1]:
            verify(str(layout.dataset), **there)
        report(**where)

    return finished


app = new_app(
    "Video and image datasets to embeddings, WebDataset shards and a Hub page.\n\n"
    "`ved build demo` needs nothing but this package. Every command can be run again: finished work is kept."
)
whole = typer.Typer()
whole.command("build", help="Raw data to a dataset ready for the Hub: encode, pack, evaluate, card, verify.")(
    _finished(build)
)
whole.command("retry", help="Encode the rejected samples again, then pack, evaluate, card, verify.")(_finished(retry))
for package in (preprocess, builders, dataset_cards, whole):  # the last one with a name has it
    app.add_typer(package)
app.add_typer(explorer, name="explorer")  # `page` is a command of dataset_cards, too
