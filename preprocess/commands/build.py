"""`build` and `retry`: encode, then pack."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from preprocess import options
from preprocess.commands.encode import ENCODE, encode, join, run_encode
from preprocess.commands.shards import PACK, shards
from preprocess.formats.layout import read_json, write_json


def build(**values: Any) -> None:
    """Encodes, then packs; notes how to pack first, for a `retry` of a build that ends before it packs."""
    packing = {name: values[name] for name in ("caption_mode", "per_shard", "shuffle", "shuffle_seed")}
    packing["append"] = values["append"] or None  # a retry never undoes an append that was made since
    if values["overwrite"] and values["append"] is None:
        values["append"] = False  # what is deleted is not appended to
    try:
        encode(**{name: values[name] for name in inspect.signature(encode).parameters if name in values})
    finally:
        for layout, _ in options.open_outputs(values["dataset"], values["out"], values["name"], values["model"])[1]:
            if layout.options.is_file():
                write_json(layout.options, {**read_json(layout.options), PACK: packing})
    shards(**{name: values[name] for name in inspect.signature(shards).parameters})


def _options_of(*commands: Callable[..., None]) -> inspect.Signature:
    """The signature of a command that takes the options of several, but works on whole outputs."""
    signatures = [inspect.signature(command, eval_str=True) for command in commands]
    parameters = {p.name: p for signature in signatures for p in signature.parameters.values() if p.name != "part"}
    return inspect.Signature(list(parameters.values()))


build.__signature__ = _options_of(encode, shards)  # type: ignore[attr-defined]
build.__annotations__ = {name: p.annotation for name, p in build.__signature__.parameters.items()}  # type: ignore[attr-defined]


def retry(
    ctx: typer.Context,
    dataset: options.Dataset,
    out: options.Out = Path("data"),
    name: options.Name = None,
    model: options.Model = None,
    only: Annotated[
        str | None,
        typer.Option(help="Reasons to try again, such as missing,timeout. [default: all]", show_default=False),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    batch_size: options.BatchSize = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    gpus_per_actor: options.GpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
    max_reject_rate: options.MaxRejectRate = None,
    check_urls: options.CheckUrls = True,
) -> None:
    """Encode the rejected samples again, then pack.

    Options left out are those of the build that is repeated.
    """
    from preprocess.pipeline.outputs import SourceOptions
    from preprocess.pipeline.settings import EncodeOptions

    reasons = options.parse_reasons(only)
    recipe, models = options.open_outputs(dataset, out, name, model)
    join(layout for layout, _ in models)
    before = read_json(models[0][0].options)
    given = {"workers": workers, "time_limit": time_limit, "max_memory": max_memory, "executor": executor}
    given |= {"cpus_per_actor": cpus_per_actor, "gpus_per_actor": gpus_per_actor, "memory_per_actor": memory_per_actor}
    given |= {"device": device, "batch_size": batch_size, "max_reject_rate": max_reject_rate, "check_urls": check_urls}
    chosen = options.given(ctx, given, before.get(ENCODE, {}))
    rate, check_urls = chosen.pop("max_reject_rate"), chosen.pop("check_urls")
    run = options.run_options(**chosen, retry=reasons)
    run_encode(recipe, models, SourceOptions(), EncodeOptions(), run, rate, check_urls=check_urls)
    where_packed = {name: chosen[name] for name in ("workers", "executor", "cpus_per_actor", "memory_per_actor")}
    shards(dataset, out, name, model, **before.get(PACK, {}), **where_packed)
