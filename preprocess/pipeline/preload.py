"""What worker processes import, and when: as early as possible, since it takes seconds and all of them need it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from preprocess import storage
from preprocess.encoders.registry import families, known_family
from preprocess.encoders.spec import Family
from preprocess.formats.layout import Layout, read_json
from preprocess.runtime.executors import make_executor
from preprocess.runtime.options import RunOptions
from preprocess.storage import location

PRELOAD = ("preprocess.pipeline.engine", "preprocess.encoders.torch_encoder")
"""What workers find imported; none of it touches a GPU."""


def start_imports(
    raw: str,
    models: Sequence[tuple[Layout, str | None]],
    default: str,
    options: RunOptions,
    engine: str | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Lets workers on this machine import their libraries while this process still lists samples and hashes weights.

    What they import takes several seconds, and more than all else before the first batch. After a run that ended, most
    likely nothing is left to encode: workers then begin when something is found.

    Args:
        raw: The raw folder, as a path or URL.
        models: Each output, and the model that the user names for it.
        default: Name of the model of an output that has none yet.
        options: Runtime options; other executors than the local one are not started here.
        engine: What the user names; None for those that the outputs were made with.
        overwrite: Whether all is encoded again.
    """
    layouts = [layout for layout, _ in models]
    ended = all("encode" in read_json(layout.report) for layout in layouts)
    if options.executor != "local" or (ended and not options.retry and not overwrite):
        return
    made_with = {read_json(layout.encoding).get("encoder", {}).get("engine", "torch") for layout in layouts}
    names = [model or read_json(layout.source).get("model") or default for layout, model in models]
    make_executor(options, modules(raw, layouts, map(known_family, names), {engine} if engine else made_with))


def modules(
    raw: str, layouts: Sequence[Layout], served_by: Iterable[Family | None], engines: Collection[str]
) -> tuple[str, ...]:
    """What workers of a build should have imported: the engine, the models, the stores of raw data and outputs.

    Args:
        raw: The raw folder, as a path or URL.
        layouts: The outputs.
        served_by: The families of the models; None for one that is not known yet.
        engines: That encode; what OpenVINO has converted needs no imports of the family.
    """
    places = [location(raw), *(layout.out for layout in layouts)]
    stores = (module for place in places for module in storage.modules(place))
    return tuple(dict.fromkeys((*PRELOAD, *(model_modules(served_by) if "torch" in engines else ()), *stores)))


def model_modules(served_by: Iterable[Family | None]) -> tuple[str, ...]:
    """What loading models imports, by their families; of one that is not known, what any of them imports."""
    anyone = tuple(module for one in families().values() for module in one.imports)
    return tuple(dict.fromkeys(module for one in served_by for module in (one.imports if one else anyone)))
