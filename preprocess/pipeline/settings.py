"""What a run encodes with: what the person says, else what the output was made with, else the defaults.

It only reads, so that a mistake leaves nothing behind. What it settles becomes `processed/encoding.json`:

    {"encoder": {"model": "openai/clip-vit-base-patch32", "revision": "3d74…", "weights_sha256": "a63d…",
                 "precision": "bf16", "dtype": "float16", "dim": 512, "normalized": false},
     "sampling": {"kind": "fps", "value": 1.0}, "preprocessing": {…}, "versions": {"av": "18.1.0", …}}
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from dataclasses import dataclass

from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import SettingsError, UnknownNameError
from preprocess.formats.layout import Layout, read_json
from preprocess.media.sampling import Sampling
from preprocess.samples import JSON, DatasetSpec

DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What a person may choose about the vectors. None means: as the output that is there was made, else the default.

    Attributes:
        model: Name of the model; default: the spec's.
        revision: Of the model on the Hub.
        sampling: Which frames; default: 1 a second.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        dtype: Of the vectors on disk; default `float16`.
    """

    model: str | None = None
    revision: str | None = None
    sampling: Sampling | None = None
    precision: str = "auto"
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A model on this disk, and all that `encoding.json` says; `precision` is `auto` until the hardware is asked."""

    model: ModelFiles
    record: JSON

    @property
    def precision(self) -> str:
        """`auto`, `fp32`, `bf16` or `fp16`."""
        return str(self.record["encoder"]["precision"])

    def with_precision(self, precision: str) -> Encoding:
        """The same, now that `auto` has become a number format."""
        encoder = {**self.record["encoder"], "precision": precision}
        return dataclasses.replace(self, record={**self.record, "encoder": encoder})


def settle_encoding(spec: DatasetSpec, layout: Layout, options: EncodeOptions, afresh: bool = False) -> Encoding:
    """What this run encodes with, checked against the triples that are there.

    Args:
        afresh: The triples that are there will be thrown away, so they decide nothing.

    Raises:
        SettingsError: The triples that are there were made with other settings.
        UserError: The model cannot be had.
    """
    before = {} if afresh else read_json(layout.encoding)
    remembered = {} if afresh else read_json(layout.source)
    old = before.get("encoder", {})
    model = options.model or remembered.get("model") or spec.encoder
    same_model = model in (remembered.get("model"), old.get("model"))
    files = resolve(model, options.revision or (old.get("revision") if same_model else None))
    sampling = options.sampling or (Sampling.from_json(before["sampling"]) if before else Sampling.fps(1))
    record = {
        "encoder": {
            "model": files.id,
            "revision": files.revision,
            "weights_sha256": files.sha256(),
            "precision": old.get("precision", "auto") if options.precision == "auto" else options.precision,
            "dtype": options.dtype or old.get("dtype", "float16"),
            "dim": files.dim(),
            "normalized": False,
        },
        "sampling": sampling.to_json(),
        "preprocessing": dataclasses.asdict(files.preprocessing()),
        "versions": library_versions(),
    }
    record = json.loads(json.dumps(record))  # as it will be read back: tuples become lists
    if before:
        _check_same(before, record, layout)
    return Encoding(files, before or record)


def _check_same(before: JSON, now: JSON, layout: Layout) -> None:
    for part in ("encoder", "sampling", "preprocessing"):
        for field in sorted({*before[part], *now[part]}):
            there, here = before[part].get(field), now[part].get(field)
            if there != here:
                raise SettingsError(
                    f"the triples in {layout.processed} were made with {part}.{field} = {there!r}, not {here!r}",
                    "Leave the option out to go on with them, start afresh with ARGS=--overwrite, or give this one a "
                    "NAME= of its own.",
                )


def library_versions() -> JSON:
    """Versions of what decides about the bytes: decoder, resize, model."""
    names = ("av", "numpy", "pillow", "torch", "torchvision", "transformers")
    return {name: importlib.metadata.version(name).split("+")[0] for name in names}
