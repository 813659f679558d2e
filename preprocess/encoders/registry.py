"""From the `model_type` in a model's config to the family that knows how to use it.

Families are auto-discovered in `preprocess/encoders/families`; no other module knows one by name. Torch is imported
when a model is loaded, not when it is described.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import threading
from collections.abc import Iterator

from preprocess.encoders import families as package
from preprocess.encoders.engines import Engine, check_engine_precision
from preprocess.encoders.models import ModelFiles, config_here, resolve
from preprocess.encoders.spec import Encoder, EncoderSpec, Family, NoTextTowerError, Precision, TextTower
from preprocess.errors import UnknownNameError, UserError

_loading = threading.Lock()
"""Held while a tower is loaded. `transformers` imports its models when they are first named and sets torch's default
number format while it loads them; neither works in two threads at once, and a machine with several GPUs has several."""


@functools.cache
def families() -> dict[str, Family]:
    """All families by the name of their module, sorted.

    Raises:
        TypeError: A module below `families` does not define `FAMILY`.
    """
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        one = getattr(importlib.import_module(f"{package.__name__}.{name}"), "FAMILY", None)
        if not isinstance(one, Family):
            raise TypeError(f"{package.__name__}.{name} must define FAMILY, a preprocess.encoders.spec.Family")
        found[name] = one
    return found


def family(name: str) -> Family:
    """The family of that name, as manifests have it.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in families():
        raise UnknownNameError("encoder family", name, families())
    return families()[name]


def encoder_spec(files: ModelFiles) -> EncoderSpec:
    """Describes a model from its config files.

    Raises:
        UserError: No family serves models of this type, or its processor does something that is not supported.
    """
    name, one = _family_of(files)
    measures = one.measure(files)
    text = one.text if _has_text_files(files) else None
    return EncoderSpec(
        family=name,
        title=measures.title or one.title,
        unit="frame" if measures.clip_frames is None else "clip",
        clip_frames=measures.clip_frames or 1,
        clip_stride=measures.clip_frames or 1,
        dim=measures.dim,
        preprocessing=measures.preprocessing,
        precisions=one.precisions,
        has_text=text is not None,
        probabilities=text.probabilities if text else None,
        tower=one.tower,
    )


def known_family(model: str) -> Family | None:
    """The family of a model by its name or by its config, where that is on this disk; else None."""
    named = next((one for one in families().values() if model in one.examples), None)
    return named or next((one for _, one in _serving(config_here(model).get("model_type"))), None)


def family_title(model: str) -> str:
    """Title of the family of a model by its name; models that a family names as examples need not be on this disk.

    Raises:
        UserError: There is no such model, or no family serves it.
    """
    for one in families().values():
        if model in one.examples:
            return one.examples[model]
    return encoder_spec(resolve(model)).title


def load_encoder(
    files: ModelFiles,
    device: str = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 32,
    engine: Engine = "torch",
    weights_sha256: str | None = None,
) -> Encoder:
    """Loads the tower that encodes frames or clips.

    Args:
        files: The model, from `preprocess.encoders.models.resolve`.
        device: `cpu`, `cuda`, `cuda:1`, …
        precision: `fp32` is exact; `bf16` and `fp16` are several times faster, with cosines above 0.9995; `int8` (with
            `openvino`) is faster again, with cosines above 0.999.
        batch_size: Rows per forward pass.
        engine: What runs the forward pass: `torch`, or on a CPU `openvino`.
        weights_sha256: Checksum of the weights, where it is known; `openvino` needs it.

    Raises:
        UserError: No family serves models of this type, or the number format is not safe for it, or the engine does
            not take it.
    """
    spec = encoder_spec(files)
    check_precision(spec, precision, files.id)
    check_engine_precision(engine, precision)
    load = functools.partial(family(spec.family).load, files)
    with _loading:
        from preprocess.encoders.torch_encoder import TorchEncoder

        if engine == "openvino":
            from preprocess.encoders.openvino_forward import load_openvino

            checksum = weights_sha256 or files.sha256()
            with_openvino = functools.partial(load_openvino, load, files, spec, precision, batch_size, checksum)
            return TorchEncoder(files.id, spec, lambda *_: with_openvino(), device, "fp32", batch_size)
        return TorchEncoder(files.id, spec, load, device, precision, batch_size)


def load_text_tower(files: ModelFiles, device: str = "cpu") -> TextTower:
    """Loads the tower that encodes texts, in fp32.

    Raises:
        NoTextTowerError: The family has none, or the folder holds a vision tower alone, or no tokenizer.
        UserError: No family serves models of this type.
    """
    name, one = _family_of(files)
    if one.text is None:
        raise NoTextTowerError(f"model {files.id!r} ({name}) has no text tower", "Use a model of images and texts.")
    if not _has_text_files(files):
        raise NoTextTowerError(f"model {files.id!r} has no text tower", "Save it whole, with its tokenizer.")
    with _loading:
        from preprocess.encoders.text_tower import TorchTextTower

        return TorchTextTower(files, one.text, device)


def check_precision(spec: EncoderSpec, precision: Precision, model: str) -> None:
    """Refuses number formats in which the model overflows, or in which no trained model of its kind was judged.

    Raises:
        UserError: The number format is not one of `spec.precisions`.
    """
    if precision not in spec.precisions:
        raise UserError(
            f"model {model!r} ({spec.title}) is not known to be safe in {precision}",
            f"Use --precision {' or '.join(spec.precisions)}.",
        )


def _has_text_files(files: ModelFiles) -> bool:
    """Whether the folder holds a text tower and its tokenizer."""
    return "text_config" in files.config() and files.has_tokenizer()


def _family_of(files: ModelFiles) -> tuple[str, Family]:
    model_type = files.config().get("model_type")
    if (found := next(_serving(model_type), None)) is not None:
        return found
    known = ", ".join(sorted(one for each in families().values() for one in each.model_types))
    examples = [next(iter(each.examples)) for each in families().values() if each.examples]
    raise UserError(
        f"model {files.id!r} is of type {model_type!r}, which no encoder family serves",
        f"Use a model of one of the types {known}, such as MODEL={examples[0] if examples else 'tiny-clip'}.",
    )


def _serving(model_type: object) -> Iterator[tuple[str, Family]]:
    """The families that serve models of a type, by name."""
    return ((name, one) for name, one in families().items() if model_type in one.model_types)
