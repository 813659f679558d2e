"""The commands of all packages under one name."""

from __future__ import annotations

from builders.__main__ import app as builders
from dataset_cards.__main__ import app as dataset_cards
from explorer.__main__ import app as explorer
from preprocess.__main__ import app as preprocess
from preprocess.console import new_app

app = new_app(
    "Video and image datasets to embeddings, WebDataset shards and a Hub page.\n\n"
    "`ved build demo` needs nothing but this package. Every command can be run again: finished work is kept."
)
for package in (preprocess, builders, dataset_cards):
    app.add_typer(package)
app.add_typer(explorer, name="explorer")  # `page` is a command of dataset_cards, too
