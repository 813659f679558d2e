"""Whether int8 keeps the quality of embeddings: OpenVINO in int8 beside fp32 of torch, on two trained models.

    .venv/bin/python benchmarks/int8.py [--only quality speed] [--model data/int8/deep-clip]

Weights in int8 are those of `--precision int8`, with groups of 64 values of an input that share a factor, and with
other groups. Calibrated int8 is NNCF's, which `make bench-peers` installs; without it, it is left out.

The models are tiny-clip (3 layers of 128, trained on clear scenes) and deep-clip (12 layers of 192, trained on clear
and disturbed scenes by the functions that trained tiny-clip: half an hour on one thread, if its folder does not exist).
2,048 clips, 32 of each of the 64 classes, are disturbed as those of the demo's test split are, and drawn with seeds of
their own. The vector of a clip is the mean of the unit vectors of its frames.

- Zero-shot: the evaluation of the cards, with its prompts.
- Retrieval: in 32 galleries, each of one clip of each class with its caption, so that a caption describes one clip of
  its gallery. Recall in both directions, over all galleries.
- Neighbors: the share of the 10 nearest of all clips, by cosine, that fp32 has too.
- Cosine to fp32 of each frame, also with the mean of all vectors of fp32 subtracted from both.

The criterion was written before any measure of quality of int8 was seen. A kind of int8 is kept if on both models

1. none of zero-shot top-1, recall@1 and recall@5 (in both directions) falls by 0.5 points or more, or falls by so much
   that the 95 % interval of the difference (bootstrap over clips, in pairs) lies below 0;
2. the overlap of the 10 nearest neighbors is at least 0.95;
3. the least centered cosine of a frame is at least 0.99;

and if it encodes at least 1.2 times as many images a second as bf16 of OpenVINO. In 2 and 3 the limit is that of torch
in bf16 where this is lower: builds use it on CPUs that multiply it, and what is accepted today cannot be too little.
Larger groups ("int8 weights, 64" and "rows") were added after the first results, by which groups of 32 fell short in
speed alone; the criterion is the same.

`benchmarks/results/int8.json` has every number, with machine and versions. `--only speed` measures speed again, and
keeps the rest.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.fidelity import Judged, Texts, compared, frames_of, judge
from benchmarks.harness.machine import machine, versions
from benchmarks.harness.media import make_clip_model
from benchmarks.harness.peers import PEERS, ROOT, why_missing
from benchmarks.harness.process import busy_s, foreign_share
from benchmarks.harness.result import rounded
from benchmarks.harness.rounds import FOREIGN_LIMIT
from dataset_cards.evaluation.zero_shot import Logits, class_weights, read_templates
from preprocess.console import table
from preprocess.demo.plan import draw_disturbance
from preprocess.demo.scenes import CLEAR, Disturbance, labels
from preprocess.encoders.int8_weights import GROUP, quantize_weights
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.encoders.openvino_forward import converted, core, cpu_settings, forward_by
from preprocess.encoders.registry import encoder_spec, family, load_encoder, load_text_tower
from preprocess.encoders.spec import Encoder
from preprocess.encoders.torch_encoder import TorchEncoder
from preprocess.formats.layout import write_json
from preprocess.samples import Pixels
from preprocess.storage import atomic_folder
from tools.tiny_clip import train as tiny
from tools.tiny_clip.prompts import build_tokenizer

RESULTS = ROOT / "benchmarks" / "results" / "int8.json"
DEEP_CLIP = ROOT / "data" / "int8" / "deep-clip"
PACKAGES = ("torch", "transformers", "numpy", "openvino")

BATCH = 32
CLIPS_PER_CLASS = 32
TRAIN_SEED, TRAIN_STEPS, TRAIN_CLIPS = 1, 1000, 32
CALIBRATION_STREAM, OTHER_STREAM, EVALUATION_STREAM = 3, 4, 5
"""Second part of the seeds of clips; training has 1 and 2."""

FEW, MANY = 300, 2048
"""Frames to calibrate with: NNCF's default, and those of the strict kind."""

REFERENCE, ACCEPTED, FASTEST = "torch fp32", "torch bf16", "openvino bf16"
INT8, OTHER = "int8", "int8, other frames"
WEIGHTS = {"int8 weights, 32": 32, "int8 weights, 64": 64, "int8 weights, rows": None}
"""The values of an input that share a factor: so many of a row, or as many as the tower is wide."""

JUDGED = (INT8, "int8 strict", OTHER, *WEIGHTS)

LEAST_OVERLAP, LEAST_COSINE, MOST_LOST, LEAST_SPEEDUP = 0.95, 0.99, 0.005, 1.2

Draw = Callable[[np.random.Generator], Disturbance]


# --- what is compared -------------------------------------------------------------------------------------------------


def contenders(files: ModelFiles, frames: Pixels, others: Pixels) -> dict[str, Callable[[], Encoder]]:
    """How each encoder is made, by its name.

    Args:
        files: The model.
        frames: Like those of its training, uint8 `(N, H, W, 3)`: what int8 is calibrated with.
        others: Like those that are evaluated: as many as NNCF takes, to see how much depends on the choice.
    """
    load = functools.partial(load_encoder, files, "cpu")
    calibrated = {
        INT8: lambda: quantized(files, _spread(frames, FEW)),
        "int8 strict": lambda: quantized(files, _spread(frames, MANY), fast_bias_correction=False),
        OTHER: lambda: quantized(files, _spread(others, FEW)),
    }
    return {
        REFERENCE: lambda: load("fp32", BATCH),
        ACCEPTED: lambda: load("bf16", BATCH),
        "openvino fp32": lambda: load("fp32", BATCH, "openvino"),
        FASTEST: lambda: load("bf16", BATCH, "openvino"),
        **(calibrated if find_nncf() else {}),
        **{name: functools.partial(with_weights_of_int8, files, group) for name, group in WEIGHTS.items()},
    }


@functools.cache
def find_nncf() -> bool:
    """Whether NNCF can be imported; that of the peers is, without what it shares with the project."""
    if importlib.util.find_spec("nncf") is None:
        sys.path += map(str, (PEERS / "nncf" / "lib").glob("python*/site-packages"))
    found = importlib.util.find_spec("nncf") is not None
    if not found:
        print("calibrated int8 is left out: NNCF is not installed (make bench-peers)")
    return found


def quantized(files: ModelFiles, frames: Pixels, fast_bias_correction: bool = True) -> Encoder:
    """Weights and activations in int8, by NNCF's quantization after training for transformers, with smooth quant."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    given: list[torch.Tensor] = []

    def keep(pixels: torch.Tensor) -> torch.Tensor:
        given.append(pixels)
        return torch.zeros(1, encoder_spec(files).dim)

    _encoder_by(files, 1, keep).encode(frames)  # what an encoder gives its tower
    model = nncf.quantize(
        _tower(files, 1),  # of one image: NNCF takes the range over the images of a batch for that of one
        nncf.Dataset([pixels.numpy() for pixels in given]),
        subset_size=len(given),
        model_type=nncf.ModelType.TRANSFORMER,
        fast_bias_correction=fast_bias_correction,
    )
    model.reshape([BATCH, *model.input(0).shape[1:]])
    return _compiled(files, model)


def with_weights_of_int8(files: ModelFiles, group: int | None) -> Encoder:
    """Weights in int8, and inputs in groups whose factors are found as they come: nothing is calibrated."""
    if group == GROUP:
        return load_encoder(files, "cpu", "int8", BATCH, "openvino")
    model = _tower(files, BATCH)
    quantize_weights(model)
    size = group or files.config()["vision_config"].get("hidden_size", 768)
    return _compiled(files, model, DYNAMIC_QUANTIZATION_GROUP_SIZE=str(size))


def _tower(files: ModelFiles, batch_size: int) -> Any:
    spec = encoder_spec(files)
    load = functools.partial(family(spec.family).load, files)
    return core().read_model(converted(load, files, spec, batch_size, files.sha256()))


def _compiled(files: ModelFiles, model: Any, **more: str) -> Encoder:
    """An encoder by a model whose other products are in bf16."""
    compiled = core().compile_model(model, "CPU", {**cpu_settings("bf16"), **more})
    return _encoder_by(files, BATCH, forward_by(compiled))


def _encoder_by(files: ModelFiles, batch_size: int, forward: Callable[[torch.Tensor], torch.Tensor]) -> Encoder:
    return TorchEncoder(files.id, encoder_spec(files), lambda *_: forward, "cpu", "fp32", batch_size)


# --- quality ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A trained model, and how the clips of its training were drawn."""

    name: str
    files: ModelFiles
    seed: int
    draw: Draw


def failures(found: Mapping[str, Any], accepted: Mapping[str, Any]) -> list[str]:
    """Which parts of the criterion an encoder fails on one model.

    Args:
        found: Its numbers, by `compared`.
        accepted: Those of torch in bf16.
    """
    failed = [
        name for name, one in found["accuracy"].items() if one["difference"] <= -MOST_LOST or one["interval"][1] < 0
    ]
    if found["neighbor_overlap"] < min(LEAST_OVERLAP, accepted["neighbor_overlap"]):
        failed.append("neighbor overlap")
    if found["centered_cosine"]["least"] < min(LEAST_COSINE, accepted["centered_cosine"]["least"]):
        failed.append("least centered cosine")
    return failed


def quality(model: Model, pool: tiny.Pool, processor: Any) -> dict[str, Any]:
    """All encoders of a model on the clips."""
    like_training = tiny.render_pool(8, (model.seed, CALIBRATION_STREAM), processor, model.draw)
    like_evaluation = tiny.render_pool(2, (model.seed, OTHER_STREAM), processor, draw_disturbance)
    tower = load_text_tower(model.files)
    texts = Texts(
        weights=class_weights(labels(), read_templates(), tower.encode),
        captions=tower.encode([scene.caption for scene in pool.scenes]),
        logits=Logits("softmax", tower.scale),
    )
    made = contenders(model.files, frames_of(like_training), frames_of(like_evaluation))
    found: dict[str, Any] = {}
    judged: dict[str, Judged] = {}
    for name, make in made.items():
        began = time.perf_counter()
        judged[name] = judge(make(), pool, texts)
        found[name] = compared(judged[name], judged[REFERENCE])
        print(f"   {model.name}, {name}: {time.perf_counter() - began:.0f} s", flush=True)
    failed = {name: failures(one, found[ACCEPTED]) for name, one in found.items() if name != REFERENCE}
    vision = model.files.config()["vision_config"]
    size = {"layers": vision["num_hidden_layers"], "width": vision["hidden_size"]}
    return {
        "model": model.name,
        **size,
        "clips": len(pool.scenes),
        "encoders": found,
        **({"calibrations": compared(judged[OTHER], judged[INT8])} if OTHER in judged else {}),
        "fails": failed,
    }


def _spread(frames: Pixels, count: int) -> Pixels:
    """`count` frames at equal distances, or all where there are no more."""
    return frames[np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int)]


def sometimes_disturbed(rng: np.random.Generator) -> Disturbance:
    """Half of the clips are clear."""
    return draw_disturbance(rng) if rng.random() < 0.5 else CLEAR


def train_deep_clip(folder: Path) -> None:
    """Trains the deeper model as tiny-clip was trained, on disturbed clips, then on others of which half are clear."""
    torch.manual_seed(TRAIN_SEED)
    tokenizer, processor = build_tokenizer(), tiny.build_image_processor()
    model = tiny.build_model(tokenizer, layers=12, width=192)
    for number, draw in enumerate((draw_disturbance, sometimes_disturbed)):
        pool = tiny.render_pool(TRAIN_CLIPS, (TRAIN_SEED, tiny.TRAIN_STREAM), processor, draw)
        losses = tiny.train(model, tokenizer, processor, pool, TRAIN_STEPS, TRAIN_SEED + number)
        print(f"loss of the last 50 steps: {np.mean(losses[-50:]):.3f}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as made:
        for part in (model, tokenizer, processor):
            part.save_pretrained(made)


def all_quality(folder: Path) -> list[dict[str, Any]]:
    """Both models on the same clips."""
    if not folder.is_dir():
        train_deep_clip(folder)
    processor = tiny.build_image_processor()
    pool = tiny.render_pool(CLIPS_PER_CLASS, (0, EVALUATION_STREAM), processor, draw_disturbance)
    models = (
        Model("tiny-clip", resolve("tiny-clip"), 0, lambda _: CLEAR),
        Model("deep-clip", resolve(str(folder)), TRAIN_SEED, sometimes_disturbed),
    )
    return [quality(model, pool, processor) for model in models]


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(rounds: int, batches: int) -> dict[str, Any]:
    """Images a second of a ViT-B/32 with random weights, on one thread, all encoders in turn in each round."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (BATCH * batches, 224, 224, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        files = resolve(str(make_clip_model(Path(temporary) / "clip")))
        calibration = pixels[:8]  # speed does not depend on the ranges
        encoders = {name: make() for name, make in contenders(files, calibration, calibration).items()}
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    others = []
    for number in range(rounds + 1):
        for name, encoder in encoders.items():
            busy, own, began = busy_s(), sum(os.times()[:2]), time.perf_counter()
            encoder.encode(pixels if number else pixels[:BATCH])  # the first round is not counted
            seconds = time.perf_counter() - began
            if number:
                rates[name].append(len(pixels) / seconds)
                used = sum(os.times()[:2]) - own
                others.append(foreign_share(busy_s() - busy, used, seconds, os.cpu_count() or 1))
    return {
        "model": "ViT-B/32, random weights",
        "threads": torch.get_num_threads(),
        "idle": statistics.median(others) <= FOREIGN_LIMIT,
        "foreign_share": {"median": statistics.median(others), "most": max(others)},
        "images_per_s": {name: {"median": statistics.median(found), "rounds": found} for name, found in rates.items()},
    }


# --- the verdict ------------------------------------------------------------------------------------------------------


def verdict(found: Mapping[str, Any]) -> dict[str, Any]:
    """For each kind of int8 whether it is kept, and what it fails; none before quality and speed were measured."""
    if not {"quality", "speed"} <= found.keys():
        return {}
    rates = {name: one["median"] for name, one in found["speed"]["images_per_s"].items()}
    said = {}
    models = found["quality"]["models"]
    for name in JUDGED:
        if name not in rates or any(name not in one["fails"] for one in models):  # measured without NNCF
            continue
        failed = [f"{one['model']}: {part}" for one in models for part in one["fails"][name]]
        if rates[name] < LEAST_SPEEDUP * rates[FASTEST]:
            failed.append("speed")
        said[name] = {"kept": not failed, "fails": failed}
    return said


def show(found: Mapping[str, Any]) -> None:
    """Prints the tables."""
    for one in found.get("quality", {"models": ()})["models"]:
        print(f"\n{one['model']}, {one['layers']} layers of {one['width']}, {one['clips']:,} clips")
        names = list(one["encoders"][REFERENCE]["accuracy"])
        lines: list[tuple[object, ...]] = [
            ("", *names, "top-1 changed", "overlap", "cosine: mean, least", "centered: mean, least")
        ]
        for name, measured in one["encoders"].items():
            cells = [_accuracy(measured["accuracy"][key], name == REFERENCE) for key in names]
            lines.append((name, *cells, *_shares(measured), *_near(measured)))
        print(table(lines, right=frozenset(range(1, len(lines[0])))))
        if between := one.get("calibrations"):
            print(f"{OTHER}, beside {INT8}: " + "; ".join((*_shares(between), *_near(between))))
    if "speed" in found:
        rows = [(name, f"{one['median']:.1f}") for name, one in found["speed"]["images_per_s"].items()]
        print("\n" + table([("", "images/s"), *rows], right=frozenset({1})))
    for name, said in found["verdict"].items():
        print(f"{name}: {'kept' if said['kept'] else 'not kept: ' + ', '.join(said['fails'])}")


def _shares(one: Mapping[str, Any]) -> tuple[str, str]:
    return f"{100 * one['top1_changed']:.2f} %", f"{one['neighbor_overlap']:.4f}"


def _near(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{one[key]['mean']:.5f}, {one[key]['least']:.5f}" for key in ("cosine", "centered_cosine"))


def _accuracy(one: Mapping[str, Any], alone: bool) -> str:
    if alone:
        return f"{100 * one['value']:.2f}"
    low, high = one["interval"]
    return f"{100 * one['difference']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, prints all that is known, and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("quality", "speed"), default=["quality", "speed"])
    parser.add_argument("--model", type=Path, default=DEEP_CLIP, help="folder of deep-clip; trained if it is missing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=4, help="of 32 images, each encoder in each round")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    os.environ["NNCF_CI"] = "1"  # NNCF then reports nothing to its makers
    if absent := why_missing("openvino", "requirements-openvino.txt"):
        print(f"nothing is measured: {absent}")
        return
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(options.results.read_text()) if options.results.is_file() else {}
    nncf = {"nncf": importlib.metadata.version("nncf")} if find_nncf() else {}
    where = {"machine": machine(), "versions": {**versions(sys.executable, PACKAGES), **nncf}}
    if "quality" in options.only:
        found["quality"] = {**where, "models": all_quality(options.model)}
    if "speed" in options.only:
        found["speed"] = {**where, **speed(options.rounds, options.batches)}
    found["verdict"] = verdict(found)
    show(found)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, rounded(found))


if __name__ == "__main__":
    main()
