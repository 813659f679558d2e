"""Encodes some samples of a packed dataset again from the raw files, and compares them with the tars.

    sample_vectors  ds_00000.tar: vid_00012.npy
        'video7010': row 2 of 10 has cosine 0.31207, expected at least 0.999
        → The vectors are not those of this video: encode again (--overwrite), then pack.

Model, sampling and preprocessing are those of the manifest. The precision is always fp32, the exact mode, so the result
does not depend on which formats this machine is fast in, and the tars are held to what the README says of their
precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.console import printable
from preprocess.encoders import encoder_spec, family
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import SettingsError, UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.manifest import Manifest
from preprocess.formats.processed import Processed
from preprocess.formats.triples import npy_array
from preprocess.media.sampling import Sampling
from preprocess.pipeline.packed_samples import PackedTriple, choose
from preprocess.runtime.options import RunOptions
from preprocess.runtime.runner import run_items
from preprocess.sample_numbers import ABSENT, SampleNumbers
from preprocess.sample_table import taken
from preprocess.samples import Reject, Sample

MIN_COSINE = {"fp32": 0.99999, "int8": 0.99}
"""Least cosine of a row to the same row in fp32; by the precision of the tars."""

MIN_COSINE_FAST = 0.999
"""The same for bf16 and fp16."""

LENGTH_TOLERANCE = 0.02
"""Largest relative difference in the length of a row: a cosine does not see that rows were normalized."""


REMEDIES = {
    "sample_vectors": "The vectors are not those of this video: encode again (--overwrite), then pack.",
    "sample_rows": "The rows are not those of this video: encode again (--overwrite), then pack.",
    "sample_source": "Check that RAW is what the dataset was made from.",
    "raw_missing": "Not compared. Check that RAW is what the dataset was made from; if the file no longer exists, "
    "ignore this.",
}
"""Code of a finding to its remedy."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One sample whose vectors in the tar are not those of the raw file, or that has no raw file any more.

    Attributes:
        code: A key of `REMEDIES`.
        where: The tar and the member.
        problem: What is there, and what was expected.
    """

    code: str
    where: str
    problem: str

    @property
    def compared(self) -> bool:
        """False if there is no raw file to compare with: then nothing is known to differ."""
        return self.code != "raw_missing"

    def __str__(self) -> str:
        where, problem = printable(self.where), printable(" ".join(self.problem.split()))
        return f"{self.code}  {where}\n    {problem}\n    → {REMEDIES[self.code]}"


def recheck(
    manifest: Manifest,
    samples: Sequence[Sample],
    raw: str,
    layout: Layout,
    options: RunOptions,
    *,
    n: int = 100,
    seed: int = 0,
    model: str | None = None,
) -> tuple[int, list[Mismatch]]:
    """Compares some samples; returns how many were chosen, and the findings, in the order of the tars.

    Args:
        manifest: Of the packed dataset.
        samples: Of the dataset, as its recipe lists them.
        raw: What their media paths are relative to.
        layout: Of the dataset.
        options: Workers and limits; encoding runs on the CPU, whatever the device.
        n: How many samples to encode.
        seed: Of the choice of samples.
        model: Name or folder of the model, where the manifest's name does not lead to it.

    Raises:
        SettingsError: The model is not the one that the manifest names.
        UserError: A tar is damaged, or no chosen sample has a raw file.
    """
    files = resolve_model(manifest, layout, model)
    tars = [shard["file"] for shard in manifest["shards"]]
    chosen = choose(layout.dataset, tars, n, seed, without=replaced_rows(manifest))
    numbers = SampleNumbers(samples).of(list(dict.fromkeys(one.meta["key"] for one in chosen)))
    wanted = list(taken(samples, numbers[numbers != ABSENT]))
    embedded = dict(_embed(manifest, wanted, raw, layout, files, options))
    least = MIN_COSINE.get(manifest["encoder"].get("precision", ""), MIN_COSINE_FAST)
    found = [difference for one in chosen if (difference := _compare(one, embedded, least))]
    if chosen and sum(not one.compared for one in found) == len(chosen):
        raise UserError(f"none of the {len(chosen):,} samples has a raw file in {raw}", "Check RAW=.")
    return len(chosen), found


def resolve_model(manifest: Manifest, layout: Layout, name: str | None = None) -> ModelFiles:
    """The model of a manifest, on this disk.

    Args:
        name: Where it is; where None, as the build found it, else by the manifest's name.

    Raises:
        SettingsError: It has other weights, or another processor.
        UserError: It is unavailable.
    """
    encoder = manifest["encoder"]
    name = name or read_json(layout.source).get("model") or str(encoder.get("model"))
    files = resolve(name, encoder.get("revision"))
    spec = encoder_spec(files)
    here = {"weights_sha256": files.sha256(), "dim": spec.dim, "preprocessing": spec.preprocessing.to_json()}
    for field, value in here.items():
        told = manifest["preprocessing"] if field == "preprocessing" else encoder.get(field)
        if told != value:
            raise SettingsError(
                f"the manifest says {field} {told!r}, model {name!r} has {value!r}",
                "Name the model that the dataset was made with: --model.",
            )
    return files


def _embed(
    manifest: Manifest, samples: Sequence[Sample], raw: str, layout: Layout, model: ModelFiles, options: RunOptions
) -> Iterator[tuple[str, NDArray[np.float32] | Reject]]:
    """Key and vectors of each sample, made in worker processes; nothing is written."""
    from preprocess.pipeline.engine import EmbedSamples
    from preprocess.pipeline.preload import PRELOAD, model_modules
    from preprocess.pipeline.targets import EncodeItem, EncoderTarget, EncodeSettings

    spec = encoder_spec(model)
    target = EncoderTarget(
        model=model,
        spec=spec,
        clip_stride=manifest["encoder"].get("clip_stride", 1),
        precision="fp32",
        batch_size=spec.batch_size(32),
        dtype="float32",
        processed=Processed(layout.processed),
    )
    settings = EncodeSettings(raw, Sampling.from_json(manifest["sampling"]), manifest["caption_mode"], (target,))
    embed, items = EmbedSamples(settings), [EncodeItem(sample, (0,)) for sample in samples]
    preload = (*PRELOAD, *model_modules([family(spec.family)]))
    for report in run_items(items, embed, options, preload=preload, description="encode again", unit=" samples"):
        yield report.key, report if isinstance(report, Reject) else report.vectors[0]


def _compare(one: PackedTriple, embedded: Mapping[str, NDArray[np.float32] | Reject], least: float) -> Mismatch | None:
    where, key = f"{one.file}: {one.id}.npy", one.meta["key"]
    again = embedded.get(key)
    if again is None:
        return Mismatch("raw_missing", where, f"{key!r}: the raw data has no such sample")
    if isinstance(again, Reject):
        code = "raw_missing" if again.reason == "missing" else "sample_source"
        return Mismatch(code, where, f"{key!r}: {again.reason}, {again.message}")
    packed = npy_array(one.npy, where)
    if packed.shape != again.shape:
        return Mismatch("sample_rows", where, f"{key!r}: is {packed.shape}, the raw file gives {again.shape}")
    problem = row_problem(packed.astype(np.float64), again.astype(np.float64), least)
    return Mismatch("sample_vectors", where, f"{key!r}: {problem}") if problem else None


def row_problem(packed: NDArray[np.float64], again: NDArray[np.float64], least: float) -> str | None:
    """What is wrong with the rows of a sample: the worst cosine that is below `least`, else the worst length.

    Args:
        packed: `(T, D)`, from the tar.
        again: `(T, D)`, from the raw file.
        least: Least cosine.
    """
    lengths, expected = np.linalg.norm(packed, axis=1), np.linalg.norm(again, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.nan_to_num((packed * again).sum(axis=1) / (lengths * expected), nan=-1.0)
        stretch = np.nan_to_num(np.abs(lengths / expected - 1), nan=np.inf)
    rows = len(packed)
    if below := int((cosines < least).sum()):
        row = int(np.argmin(cosines))
        more = f" ({below} rows are below it)" if below > 1 else ""
        return f"row {row} of {rows} has cosine {cosines[row]:.5f}, expected at least {least:g}{more}"
    if rows and stretch.max() > LENGTH_TOLERANCE:
        row = int(np.argmax(stretch))
        return f"row {row} of {rows} has length {lengths[row]:.4g}, expected {expected[row]:.4g}"
    return None
