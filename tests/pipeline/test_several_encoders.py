"""Several encoders in one build: one decode, a dataset for each, with the same samples, ids and order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoVideoProcessor, CLIPImageProcessor, CLIPVisionModelWithProjection

from preprocess.errors import SettingsError
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.processed import Processed
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import npy_array
from preprocess.media import read_media
from preprocess.media.sampling import Sampling
from preprocess.pipeline.encode import encode_datasets
from preprocess.pipeline.index import read_source, write_samples
from preprocess.pipeline.outputs import (
    SourceOptions,
    appended_output,
    differing_samples,
    only_runs,
    packing_order,
    resolve_outputs,
    resolve_sources,
)
from preprocess.pipeline.pack import pack_dataset
from preprocess.pipeline.settings import EncodeOptions
from preprocess.recipes import load
from preprocess.runtime.options import RunOptions
from preprocess.samples import EncodeReport
from tests.encoders.small_models import MODELS
from tests.media_files import write_video

LENGTHS = {"a": 25, "b": 1, "c": 40, "d": 12, "e": 31}
RECIPE = load("folder")
ONE_WORKER = RunOptions(workers=1)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good videos at 10 frames per second, and a text file that calls itself a video."""
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(LENGTHS.items()):
        write_video(folder / "train" / f"{name}.mp4", n_frames, seed=seed)
    (folder / "train" / "not_a_video.mp4").write_text("just text")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An encoder of frames, one whose frames are floats, and one of clips."""
    found = {}
    for family in ("clip", "dinov3_vit", "vjepa2"):
        found[family] = tmp_path_factory.mktemp("models") / family
        found[family].mkdir()
        MODELS[family](found[family])
    return found


def build(
    raw: Path | None,
    out: Path,
    models: dict[str, Path],
    sampling: Sampling | None = None,
    seed: int | None = None,
    runtime: RunOptions = ONE_WORKER,
    append: bool | None = None,
) -> dict[str, EncodeReport]:
    """What `python -m preprocess build` does with `--model "a b c"`, in this process."""
    named = [(Layout(out, name), str(model)) for name, model in models.items()]
    layouts = [layout for layout, _ in named]
    source = resolve_sources(RECIPE, layouts, SourceOptions(raw and str(raw)))
    options = EncodeOptions(sampling=sampling, precision="fp32", dtype="float32")
    outputs = resolve_outputs(RECIPE, named, options, source.raw)
    with only_runs(layouts):
        samples = read_source(RECIPE, source)
        for layout in layouts:
            write_samples(samples, source, layout)
        reports = encode_datasets(samples, str(source.folder), outputs, runtime)
    for layout in layouts:
        order, like = packing_order(layout, "folder", None, seed, None), appended_output(layout, "folder")
        pack_dataset(layout, RECIPE.SPEC, **order, append=append, like=like)
    return dict(zip(models, reports, strict=True))


def shards(out: Path, name: str) -> list[tuple[str, NDArray[np.float32], str, dict[str, object]]]:
    """Id, vectors, text and metadata of every sample, in the order of the tars."""
    tars = sorted(Layout(out, name).dataset.glob("ds_*.tar"))
    return [
        (one.id, npy_array(one.npy), bytes(one.txt).decode(), json.loads(bytes(one.json)))
        for tar in tars
        for one in iter_triples(tar)
    ]


def tars(out: Path, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Layout(out, name).dataset.glob("ds_*.tar"))}


@pytest.fixture(scope="module")
def together(raw: Path, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one build with all three encoders."""
    out = tmp_path_factory.mktemp("together")
    for report in build(raw, out, models, Sampling.fps(5)).values():
        assert (report.written, dict(report.rejects)) == (5, {"unreadable": 1})
    return out


def test_the_bytes_are_those_of_builds_with_one_encoder(
    raw: Path, models: dict[str, Path], together: Path, tmp_path: Path
) -> None:
    for family, model in models.items():
        build(raw, tmp_path / family, {family: model}, Sampling.fps(5))
        assert tars(tmp_path / family, family) == tars(together, family)


def test_all_datasets_have_the_same_samples_ids_and_order(models: dict[str, Path], together: Path) -> None:
    rows = {family: [(id_, text, meta["key"]) for id_, _, text, meta in shards(together, family)] for family in models}
    assert len(rows["clip"]) == 5
    assert rows["clip"] == rows["dinov3_vit"] == rows["vjepa2"]


@pytest.mark.slow
def test_all_datasets_append_alike(local_folder: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """One more video, and another caption: the same new ids in each dataset, and the old tars as they were."""
    for seed, name in enumerate("ab"):
        write_video(local_folder / "train" / f"{name}.mp4", 12, seed=seed)
    build(local_folder, tmp_path, models, Sampling.fps(5))
    before = {family: tars(tmp_path, family) for family in models}
    write_video(local_folder / "train" / "c.mp4", 12, seed=2)
    (local_folder / "train" / "a.txt").write_text("another caption")
    build(local_folder, tmp_path, models, append=True)
    rows = {family: [(id_, text, meta["key"]) for id_, _, text, meta in shards(tmp_path, family)] for family in models}
    assert rows["clip"] == rows["dinov3_vit"] == rows["vjepa2"]
    assert [id_ for id_, *_ in rows["clip"]] == [f"vid_{i:05d}" for i in range(4)]
    manifests = [read_manifest(Layout(tmp_path, family).dataset / "manifest.json") for family in models]
    assert manifests[0]["generations"] == manifests[1]["generations"] == manifests[2]["generations"]
    assert len(manifests[0]["generations"][1]["replaced"]) == 1
    for family, old in before.items():
        assert {name: data for name, data in tars(tmp_path, family).items() if name in old} == old
    build(None, tmp_path, {"later": models["clip"]})
    later = read_manifest(Layout(tmp_path, "later").dataset / "manifest.json")
    assert later["generations"] == manifests[0]["generations"]
    assert [(id_, meta["key"]) for id_, _, _, meta in shards(tmp_path, "later")] == [
        (id_, key) for id_, _, key in rows["clip"]
    ]


def test_frames_equal_a_plain_forward(raw: Path, models: dict[str, Path], together: Path) -> None:
    processor = CLIPImageProcessor.from_pretrained(models["clip"])
    model = CLIPVisionModelWithProjection.from_pretrained(models["clip"]).eval()
    for _, vectors, _, meta in shards(together, "clip"):
        frames = read_media(raw / str(meta["source"]), Sampling.fps(5)).frames
        with torch.no_grad():
            plain = model(**processor(images=list(frames.pixels), return_tensors="pt")).image_embeds
        np.testing.assert_allclose(vectors, plain.numpy(), atol=1e-5)
        assert meta["timestamps"] == frames.timestamps_s.round(6).tolist()
        assert "spans" not in meta


def test_clips_equal_a_plain_forward_and_say_what_they_cover(
    raw: Path, models: dict[str, Path], together: Path
) -> None:
    """Windows of T frames that follow each other, the last one padded by its last frame."""
    processor = AutoVideoProcessor.from_pretrained(models["vjepa2"])
    model = AutoModel.from_pretrained(models["vjepa2"]).eval()
    length = model.config.frames_per_clip
    manifest = read_manifest(Layout(together, "vjepa2").dataset / "manifest.json")
    assert manifest["encoder"]["unit"] == "clip"
    assert (manifest["encoder"]["clip_frames"], manifest["encoder"]["clip_stride"]) == (length, length)
    for _, vectors, _, meta in shards(together, "vjepa2"):
        frames = read_media(raw / str(meta["source"]), Sampling.fps(5)).frames
        times = frames.timestamps_s.tolist()
        starts = range(0, len(times), length)
        for row, start in zip(vectors, starts, strict=True):
            clip = list(frames.pixels[start : start + length])
            clip += clip[-1:] * (length - len(clip))
            with torch.no_grad():
                inputs = processor(videos=[np.stack(clip)], return_tensors="pt", do_sample_frames=False)
                plain = model.get_vision_features(**inputs).mean(dim=1)[0]
            np.testing.assert_allclose(row, plain.numpy(), atol=1e-5)
        ends = [times[start + length] if start + length < len(times) else meta["duration"] for start in starts]
        assert meta["spans"] == [[times[s], end] for s, end in zip(starts, ends, strict=True)]
        assert meta["timestamps"] == [times[s] for s in starts]
        assert meta["padded_frames"] == -len(times) % length


def test_every_video_is_decoded_once(
    raw: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from preprocess.media import video

    opened: list[str] = []
    real = video.VideoFrames.__iter__

    def counted(self: video.VideoFrames) -> object:
        opened.append(self.path.name)
        return real(self)

    monkeypatch.setattr(video.VideoFrames, "__iter__", counted)
    reports = build(raw, tmp_path, models, runtime=RunOptions(executor="inline"))
    assert [report.written for report in reports.values()] == [5, 5, 5]
    assert sorted(opened) == sorted([*(f"{name}.mp4" for name in LENGTHS), "not_a_video.mp4"])


def test_an_encoder_that_is_added_later_reuses_samples_ids_and_order(
    raw: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """Raw folder, sampling, order and rejects are those of the first output, although nobody names them again."""
    build(raw, tmp_path, {"clip": models["clip"]}, Sampling.fps(5), seed=7)
    (raw / "train" / "not_a_video.mp4").rename(raw / "aside")
    write_video(raw / "train" / "not_a_video.mp4", 10, seed=9)  # readable by now, and still not in the first output
    try:
        report = build(None, tmp_path, {"dinov3_vit": models["dinov3_vit"]})["dinov3_vit"]
    finally:
        (raw / "aside").replace(raw / "train" / "not_a_video.mp4")
    assert (report.written, dict(report.rejects)) == (5, {"unreadable": 1})
    manifests = [read_manifest(Layout(tmp_path, name).dataset / "manifest.json") for name in ("clip", "dinov3_vit")]
    assert manifests[0]["sampling"] == manifests[1]["sampling"] == {"kind": "fps", "value": 5.0}
    assert manifests[0]["order"] == manifests[1]["order"]
    assert manifests[1]["order"]["seed"] == 7
    rows = [[(row[0], row[2], row[3]["key"]) for row in shards(tmp_path, name)] for name in ("clip", "dinov3_vit")]
    assert rows[0] == rows[1]
    assert differing_samples(Layout(tmp_path, "clip"), "folder") == []


def test_outputs_that_lack_different_samples_get_what_each_of_them_lacks(
    raw: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    two = {family: models[family] for family in ("clip", "dinov3_vit")}
    build(raw, tmp_path, {"clip": two["clip"]})
    reports = build(raw, tmp_path, two)
    assert [(report.written, report.kept) for report in reports.values()] == [(0, 5), (5, 0)]
    for family, number in (("clip", 0), ("dinov3_vit", 1)):
        processed = Processed(Layout(tmp_path, family).processed)
        processed.remove([("train", sorted(processed.keys("train"))[number])])
    reports = build(raw, tmp_path, two)
    assert [(report.written, report.kept) for report in reports.values()] == [(1, 4), (1, 4)]


def test_another_folder_is_another_dataset(raw: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """Its split, sampling and order are the defaults, whatever the first folder was built with."""
    one, out = {"CLIP-One": models["clip"]}, tmp_path / "out"
    layouts = [Layout(out, "CLIP-One")]
    build(raw, out, one, Sampling.fps(5), seed=7)
    write_samples([], resolve_sources(RECIPE, layouts, SourceOptions(split=(1.0, 0.0, 0.0), seed=3)), layouts[0])
    write_video(tmp_path / "others" / "z.mp4", 20)
    build(tmp_path / "others", out, {"CLIP-Two": models["clip"]})
    two = Layout(out, "CLIP-Two")
    manifest, source = read_manifest(two.dataset / "manifest.json"), json.loads(two.source.read_text())
    assert manifest["sampling"] == {"kind": "fps", "value": 1.0}
    assert manifest["order"] == {"shuffle": True, "seed": 42, "per_shard": 10_000}
    assert (source["raw"], source["split"], source["seed"]) == (str(tmp_path / "others"), [0.8, 0.1, 0.1], 0)
    assert differing_samples(two, "folder") == []
    build(None, out, {"CLIP-Two": models["clip"]})
    assert read_manifest(two.dataset / "manifest.json") == manifest


def test_outputs_that_sample_other_frames_are_not_built_together(
    raw: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    build(raw, tmp_path, {"clip": models["clip"]}, Sampling.fps(1))
    build(raw, tmp_path, {"vjepa2": models["vjepa2"]}, Sampling.fps(5))
    with pytest.raises(SettingsError, match="sample different frames"):
        build(raw, tmp_path, {"clip": models["clip"], "vjepa2": models["vjepa2"]})


def test_what_one_encoder_cannot_store_is_rejected_for_all(
    raw: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that gives infinity for one sample: all datasets of the build leave it out, so their ids agree."""
    from preprocess.pipeline import batches

    real = batches.Batcher.add

    def overflowing(self: batches.Batcher, embedded: batches.Embedded, pixels: object) -> object:
        for complete in real(self, embedded, pixels):  # type: ignore[arg-type]
            if self._index == 1 and complete.sample.media.endswith("/c.mp4"):
                complete.vectors[1][:] = np.inf
            yield complete

    monkeypatch.setattr(batches.Batcher, "add", overflowing)
    both = {name: models[name] for name in ("clip", "dinov3_vit")}
    for report in build(raw, tmp_path, both, runtime=RunOptions(executor="inline", batch_size=1)).values():
        assert (report.written, dict(report.rejects)) == (4, {"not_finite": 1, "unreadable": 1})
