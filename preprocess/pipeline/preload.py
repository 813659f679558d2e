"""What worker processes import, and when: as early as possible, since it takes seconds and all of them need it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from preprocess import storage
from preprocess.formats.layout import Layout, read_json
from preprocess.runtime.executors import make_executor
from preprocess.runtime.options import RunOptions
from preprocess.storage import location

PRELOAD = (
    "preprocess.pipeline.engine",
    "preprocess.encoders.torch_encoder",
    "torchvision.transforms.v2.functional",
)
"""What workers find imported; none of it touches a GPU."""

PRELOAD_MODELS = ("transformers.modeling_layers",)
"""Nearly all that a model of `transformers` imports; what OpenVINO has converted needs none of it."""


def start_imports(raw: str, layouts: Sequence[Layout], options: RunOptions, engine: str | None = None) -> None:
    """Lets workers on this machine import their libraries while this process still lists samples and hashes weights.

    What they import takes several seconds, and more than all else before the first batch.

    Args:
        raw: The raw folder, as a path or URL.
        layouts: The outputs.
        options: Runtime options; other executors than the local one are not started here.
        engine: What the user names; None for those that the outputs were made with.
    """
    if options.executor == "local":
        made_with = {read_json(layout.encoding).get("encoder", {}).get("engine", "torch") for layout in layouts}
        make_executor(options, modules(raw, layouts, {engine} if engine else made_with))


def modules(raw: str, layouts: Sequence[Layout], engines: Collection[str]) -> tuple[str, ...]:
    """What workers of a build should have imported: the engine, the models, the stores of raw data and outputs."""
    places = [location(raw), *(layout.out for layout in layouts)]
    models = PRELOAD_MODELS if "torch" in engines else ()
    stores = (module for place in places for module in storage.modules(place))
    return tuple(dict.fromkeys((*PRELOAD, *models, *stores)))
