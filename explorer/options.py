"""Options that the explorer's commands share, and the one way in which they open a dataset."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preprocess.errors import UserError

if TYPE_CHECKING:
    from explorer.index import Index
    from explorer.models import QueryModel
    from explorer.samples import Query

Source = Annotated[str, typer.Argument(help="Folder of a packed dataset, or hf://datasets/<org>/<name>[@<revision>].")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Folder or Hub id of the model, if the name in the manifest does not identify it.", show_default=False
    ),
]
Device = Annotated[str, typer.Option(help="Device that encodes the query: auto, cpu, cuda or cuda:N.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder for indexes. [default: the dataset's work folder]", show_default=False)
]
SplitName = Annotated[str | None, typer.Option(help="Only this split: train, val or test.", show_default=False)]
Label = Annotated[str | None, typer.Option(help="Only samples with this label.", show_default=False)]
Image = Annotated[Path | None, typer.Option(help="Search with an image file.", show_default=False)]
Like = Annotated[
    str | None, typer.Option(help="Search with a row (KEY@12.5) or a sample (KEY) of the dataset.", show_default=False)
]
Approximate = Annotated[bool, typer.Option("--approximate", help="Use faiss; for more than about 20 million rows.")]


@dataclass(frozen=True, slots=True)
class Opened:
    """A dataset that a command works on."""

    source: str
    index: Index
    models: QueryModel

    def query(self, sentence: str | None, image: Path | None, like: str | None) -> Query:
        """The one query that was given.

        Raises:
            UserError: None or several were given, or it cannot be used.
        """
        given = [value for value in (sentence, image, like) if value is not None]
        if len(given) != 1:
            raise UserError(
                f"{len(given)} queries were given", "Give one: a sentence, --image FILE or --like KEY@12.5."
            )
        if like is not None:
            return self.index.query_at(like)
        return self.models.image(image) if image is not None else self.models.text(sentence or "")


def open_dataset(source: Source, model: Model = None, device: Device = "auto", cache: Cache = None) -> Opened:
    """Opens the index of a dataset, and says which model made its embeddings.

    Raises:
        UserError: There is no such dataset, or torch cannot use the device.
    """
    from explorer.index import open_index
    from explorer.models import QueryModel
    from preprocess.encoders.devices import choose_device
    from preprocess.formats.layout import Layout, read_json

    index = open_index(source, cache)
    noted = read_json(Layout(index.dataset.resolve().parent, index.dataset.resolve().name).source)
    return Opened(
        source, index, QueryModel(index.manifest["encoder"], model or noted.get("model"), choose_device(device)[0])
    )


def on_dataset(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command its dataset.

    Args:
        command: Its first parameter is `Opened`; the others are arguments and options.

    Returns:
        A command with the argument and the options of `open_dataset` in place of the first parameter.
    """
    source, *around = inspect.signature(open_dataset, eval_str=True).parameters.values()
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    def run(**values: Any) -> None:
        where = {parameter.name: values.pop(parameter.name) for parameter in (source, *around)}
        command(open_dataset(**where), **values)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (source, *own, *around)]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
