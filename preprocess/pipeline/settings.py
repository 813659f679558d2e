"""What a run encodes with: what the user says, else what the output was made with, else the defaults.

It only reads, so that a mistake leaves nothing behind. What it resolves becomes `processed/encoding.json`:

    {"encoder": {"model": "openai/clip-vit-base-patch32", "revision": "3d74…", "weights_sha256": "a63d…",
                 "precision": "bf16", "dtype": "float16", "dim": 512, "normalized": false, "family": "clip"},
     "sampling": {"kind": "fps", "value": 1.0}, "preprocessing": {…}, "versions": {"av": "18.1.0", …}}

Encoders of clips add `"unit": "clip", "clip_frames": 64, "clip_stride": 64` to `encoder`, engines other than torch
`"engine": "openvino"`, and their version to `versions`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from preprocess.encoders import PRECISIONS, EncoderSpec, check_precision, encoder_spec
from preprocess.encoders.engines import Engine, check_engine, check_engine_precision
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import SettingsError, UnknownNameError, UserError
from preprocess.formats.layout import Layout, read_json
from preprocess.media.sampling import Sampling
from preprocess.samples import JSON, DatasetSpec
from preprocess.versions import library_versions

DTYPES = ("float16", "float32")

_ADDED = frozenset({"family"})
"""Fields of `encoder` that older outputs lack; they say nothing that the weights' checksum does not."""


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """Options that decide the vectors. None means: as the existing output was made, else the default.

    Attributes:
        model: Name of the model; default: the spec's.
        revision: Of the model on the Hub.
        sampling: Which frames; default: 1 a second.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`.
        dtype: Of the vectors on disk; default `float16`.
        clip_stride: Sampled frames between the starts of two clips, for encoders of clips; default: the length of a
            clip, so that clips follow each other without overlap.
        engine: What runs the forward pass, `torch` or `openvino`; default `torch`.
    """

    model: str | None = None
    revision: str | None = None
    sampling: Sampling | None = None
    precision: str = "auto"
    dtype: str | None = None
    clip_stride: int | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("auto", *PRECISIONS):
            raise UnknownNameError("precision", self.precision, ("auto", *PRECISIONS))
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        if self.clip_stride is not None and self.clip_stride < 1:
            raise UserError(f"clip stride {self.clip_stride} is not positive", "Use a number of sampled frames from 1.")
        if self.engine is not None:
            check_engine(self.engine)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A model on this disk, and all that `encoding.json` says; `precision` is `auto` until the hardware is known."""

    model: ModelFiles
    record: JSON

    @property
    def clip_stride(self) -> int:
        """Sampled frames between the starts of two clips; 1 for encoders of frames."""
        return int(self.record["encoder"].get("clip_stride", 1))

    @property
    def precision(self) -> str:
        """`auto`, `fp32`, `bf16`, `fp16` or `int8`."""
        return str(self.record["encoder"]["precision"])

    @property
    def engine(self) -> Engine:
        """What runs the forward pass."""
        return check_engine(self.record["encoder"].get("engine", "torch"))

    def with_precision(self, precision: str) -> Encoding:
        """The same, now that `auto` has become a number format."""
        encoder = {**self.record["encoder"], "precision": precision}
        return dataclasses.replace(self, record={**self.record, "encoder": encoder})


def resolve_encoding(
    spec: DatasetSpec, layout: Layout, options: EncodeOptions, overwrite: bool = False, like: Layout | None = None
) -> Encoding:
    """What this run encodes with, checked against the existing triples.

    Args:
        spec: The dataset, for its default encoder.
        layout: Paths of the output.
        options: What the user says.
        overwrite: The existing triples will be removed, so they decide nothing.
        like: Another output of this dataset, whose sampling is the default of a new one.

    Raises:
        SettingsError: The existing triples were made with other settings.
        UserError: The model is unavailable or not supported, or an option does not apply to it.
    """
    before = {} if overwrite else read_json(layout.encoding)
    remembered = {} if overwrite else read_json(layout.source)
    old = before.get("encoder", {})
    model = options.model or remembered.get("model") or spec.encoder
    same_model = model in (remembered.get("model"), old.get("model"))
    files = resolve(model, options.revision or (old.get("revision") if same_model else None))
    described = encoder_spec(files)
    precision = old.get("precision", "auto") if options.precision == "auto" else options.precision
    if precision in PRECISIONS:
        check_precision(described, precision, files.id)
    engine = check_engine(options.engine or old.get("engine", "torch"))
    check_engine_precision(engine, precision)
    sampled = before or (read_json(like.encoding) if like else {})
    sampling = options.sampling or (Sampling.from_json(sampled["sampling"]) if sampled else Sampling.fps(1))
    record = {
        "encoder": {
            "model": files.id,
            "revision": files.revision,
            "weights_sha256": files.sha256(),
            "precision": precision,
            "dtype": options.dtype or old.get("dtype", "float16"),
            "dim": described.dim,
            "normalized": False,
            "family": described.family,
            **({} if engine == "torch" else {"engine": engine}),
            **clip_settings(described, options.clip_stride or old.get("clip_stride"), files.id),
        },
        "sampling": sampling.to_json(),
        "preprocessing": described.preprocessing.to_json(),
        "versions": library_versions(*(() if engine == "torch" else (engine,))),
    }
    if before:
        _check_same(before, record, layout)
    return Encoding(files, before or record)


def clip_settings(spec: EncoderSpec, stride: int | None, model: str) -> JSON:
    """What `encoder` says of clips; nothing for encoders of frames.

    Args:
        spec: Of the model.
        stride: Sampled frames between the starts of two clips; None for the model's default.
        model: Its name, for the error.

    Raises:
        UserError: A stride is given for an encoder of frames.
    """
    if spec.unit == "frame":
        if stride is not None:
            raise UserError(f"model {model!r} encodes single frames, not clips", "Leave the clip stride out.")
        return {}
    return {"unit": spec.unit, "clip_frames": spec.clip_frames, "clip_stride": stride or spec.clip_stride}


def _check_same(before: JSON, now: JSON, layout: Layout) -> None:
    for part in ("encoder", "sampling", "preprocessing"):
        for field in sorted({*before[part], *now[part]}):
            if part == "encoder" and field in _ADDED and field not in before[part]:
                continue
            default = "torch" if field == "engine" else None
            there, here = before[part].get(field, default), now[part].get(field, default)
            if there != here:
                raise SettingsError(
                    f"the triples in {layout.processed} were made with {part}.{field} = {there!r}, not {here!r}",
                    "Leave the option out to continue with them, overwrite them with ARGS=--overwrite, or give this "
                    "output its own NAME=.",
                )
