"""Encoding a folder of real videos, from raw files to triples, with real worker processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from preprocess.errors import RawDataError, SettingsError, UserError
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.triples import read_triple
from preprocess.media.sampling import Sampling
from preprocess.pipeline import engine, plan
from preprocess.pipeline.encode import RunOptions, encode_dataset
from preprocess.pipeline.executors import LocalExecutor, Watch
from preprocess.pipeline.feed import SendChunk, encode_sent
from preprocess.pipeline.index import index_samples, only_run, settle_source
from preprocess.pipeline.settings import EncodeOptions, settle_encoding
from preprocess.pipeline.work import read_samples
from preprocess.recipes import load
from preprocess.samples import EncodeReport, Reject
from tests.media_files import all_frames, write_audio, write_video

LENGTHS = {"a": 25, "b": 1, "c": 40, "d": 12, "e": 31}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good videos of 0.1 to 4 s, a text file and a sound that call themselves videos."""
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(LENGTHS.items()):
        write_video(folder / "train" / f"{name}.mp4", n_frames, seed=seed)
    (folder / "train" / "not_a_video.mp4").write_text("just text")
    write_audio(folder / "train" / "sound.mp4")
    return folder


def run(raw: Path | None, out: Path, model: Path | None, recipe: str = "folder", **options: Any) -> EncodeReport:
    """What `python -m preprocess encode` does, in this process."""
    module, layout = load(recipe), Layout(out, "CLIP-Test")
    chosen = {field.name: options.pop(field.name) for field in dataclasses.fields(RunOptions) if field.name in options}
    source = settle_source(module, layout, raw and str(raw))
    encoding = settle_encoding(module.SPEC, layout, EncodeOptions(model=model and str(model), **options))
    with only_run(layout):
        samples = index_samples(module, source, layout)
        return encode_dataset(samples, str(source.folder), layout, encoding, RunOptions(**{"workers": 2, **chosen}))


def content(out: Path) -> dict[str, str]:
    """SHA-256 of every file a run leaves, but for what tells of the machine and the clock."""
    work = Layout(out, "CLIP-Test").work
    files = (path for path in sorted(work.rglob("*")) if path.is_file())
    skip = {"source.json", "build_report.json", ".lock"}
    return {str(p.relative_to(work)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name not in skip}


def rejects(out: Path) -> dict[str, Reject]:
    lines = Layout(out, "CLIP-Test").rejects.read_text().splitlines()
    return {reject.key: reject for reject in (Reject(**json.loads(line)) for line in lines)}


@pytest.fixture(scope="module")
def undisturbed(raw: Path, small_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one run with one worker."""
    out = tmp_path_factory.mktemp("undisturbed")
    report = run(raw, out, small_clip, workers=1)
    assert (report.written, report.kept, dict(report.rejects)) == (5, 0, {"unreadable": 1, "no_video_stream": 1})
    return out


def plain_embeddings(model: Path, path: Path, times: NDArray[np.float64]) -> NDArray[np.float32]:
    """Full decode, the frame on screen at each time, the model's processor, one forward pass per image."""
    frames, at = all_frames(path)
    processor = CLIPImageProcessor.from_pretrained(model)
    clip = CLIPVisionModelWithProjection.from_pretrained(model).eval()
    rows = []
    for time_s in times:
        image = frames[np.searchsorted(at, time_s + 1e-6) - 1]
        with torch.no_grad():
            rows.append(clip(**processor(images=image, return_tensors="pt")).image_embeds[0].numpy())
    return np.stack(rows)


def test_triples_equal_a_plain_forward_over_a_full_decode(raw: Path, small_clip: Path, tmp_path: Path) -> None:
    report = run(raw, tmp_path, small_clip, precision="fp32", dtype="float32")
    layout = Layout(tmp_path, "CLIP-Test")
    frames = 0
    for key, n_frames in LENGTHS.items():
        triple = read_triple(layout.processed, "train", _key_of(layout, key))
        times = np.arange(-(-n_frames // 10), dtype=np.float64)
        assert triple.vectors.dtype == np.float32
        assert triple.meta["timestamps"] == list(times)
        assert triple.meta["n_frames"] == len(times) == len(triple.vectors)
        assert triple.meta["duration"] == pytest.approx(n_frames / 10)
        expected = plain_embeddings(small_clip, raw / "train" / f"{key}.mp4", times)
        np.testing.assert_allclose(triple.vectors, expected, atol=1e-5)
        frames += len(times)
    assert report.frames == frames
    assert read_json(layout.encoding)["encoder"]["precision"] == "fp32"


def _key_of(layout: Layout, stem: str) -> str:
    """The key that the recipe gave to `train/<stem>.mp4`."""
    (key,) = (s.key for s in read_samples(layout.samples) if Path(s.media).stem == stem)
    return key


@pytest.mark.parametrize("workers", [2, 4])
def test_bytes_do_not_depend_on_the_number_of_workers(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, workers: int
) -> None:
    run(raw, tmp_path, small_clip, workers=workers)
    assert content(tmp_path) == content(undisturbed)


def test_the_way_to_a_gpu_writes_the_same_bytes(raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Decode in workers, send frames, encode here on two devices (both the CPU): what a GPU machine runs."""
    from preprocess.encoders.clip import ClipEncoder
    from preprocess.encoders.devices import choose_precision
    from preprocess.encoders.models import resolve

    torch.set_num_threads(1)
    files = resolve(str(small_clip))
    before = Layout(undisturbed, "CLIP-Test")
    processed = tmp_path / "processed"
    (processed / "train").mkdir(parents=True)
    settings = engine.Settings(
        raw=str(raw),
        processed=processed,
        sampling=Sampling("fps", 1),
        preprocessing=files.preprocessing(),
        model=files,
        precision=choose_precision("auto", "cpu"),
        batch_size=32,
        dtype="float16",
        caption_mode="first",
    )
    chunks = plan.chunks(read_samples(before.samples), size=3)
    sent = LocalExecutor(2).run(chunks, SendChunk(settings), lambda task, loss: None)
    encoders = [ClipEncoder(files, "cpu", settings.precision, 32) for _ in range(2)]
    reports = list(encode_sent(sent, encoders, settings))
    assert len(reports) == 7
    assert sum(isinstance(report, Reject) for report in reports) == 2
    for path in sorted((before.processed / "train").iterdir()):
        assert (processed / "train" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_second_run_does_nothing(raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    report = run(raw, tmp_path, small_clip)
    assert (report.written, report.kept, sum(report.rejects.values())) == (0, 5, 2)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {p for p in after if after[p] != before.get(p)} <= {Layout(tmp_path, "CLIP-Test").work / ".lock"}


@pytest.mark.parametrize("delay_s", [2.5, 4.0, 5.0])
def test_killed_and_run_again_gives_the_same_bytes(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, root: Path, delay_s: float
) -> None:
    command = [sys.executable, "-m", "preprocess", "encode", "folder", "--name", "CLIP-Test", "--raw", str(raw)]
    command += ["--out", str(tmp_path), "--model", str(small_clip), "--workers", "2"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(delay_s)
        process.kill()
    run(raw, tmp_path, small_clip)
    assert content(tmp_path) == content(undisturbed)


@dataclass(frozen=True)
class BadDecoder:
    """The real chunk, with a decoder that dies or hangs on one video: FFmpeg's faults cannot be ordered."""

    settings: engine.Settings
    fault: str = "crash"

    def __call__(self, chunk: plan.Chunk, watch: Watch) -> Iterator[Any]:
        def watch_and_fail(item: str | None) -> None:
            watch(item)
            if item is not None and item.split("-")[0].endswith("c"):
                if self.fault == "crash":
                    os.abort()
                time.sleep(600)

        yield from engine.EncodeChunk(self.settings)(chunk, watch_and_fail)


@dataclass(frozen=True)
class HangingDecoder(BadDecoder):
    fault: str = "hang"


@pytest.mark.parametrize(
    ("decoder", "reason"), [(BadDecoder, "decoder_crashed"), (HangingDecoder, "timeout")], ids=["crash", "hang"]
)
def test_a_crash_or_hang_costs_one_video(
    raw: Path,
    small_clip: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoder: type[BadDecoder],
    reason: str,
) -> None:
    monkeypatch.setattr(engine, "EncodeChunk", decoder)
    report = run(raw, tmp_path, small_clip, time_limit_s=3.0)
    assert report.written == 4
    key = _key_of(Layout(tmp_path, "CLIP-Test"), "c")
    assert rejects(tmp_path)[key].reason == reason
    monkeypatch.undo()
    assert run(raw, tmp_path, small_clip).written == 0, "a reject is not tried again by itself"
    assert run(raw, tmp_path, small_clip, retry=True).written == 1
    assert content(tmp_path) == content(undisturbed)


def test_other_settings_over_existing_triples_are_refused(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    with pytest.raises(SettingsError, match=r"sampling.value = 1.0, not 2.0"):
        run(raw, tmp_path, small_clip, sampling=Sampling("fps", 2))
    with pytest.raises(SettingsError, match=r"encoder.dtype = 'float16', not 'float32'"):
        run(raw, tmp_path, small_clip, dtype="float32")
    other = tmp_path / "another-model"
    shutil.copytree(small_clip, other)
    with pytest.raises(SettingsError, match=r"encoder.model = 'small-clip', not 'another-model'"):
        run(raw, tmp_path, other)
    with pytest.raises(SettingsError, match="raw"):
        run(other, tmp_path, small_clip)
    assert content(tmp_path).items() >= content(undisturbed).items()


def test_options_left_out_go_on_as_before(raw: Path, small_clip: Path, tmp_path: Path) -> None:
    run(raw, tmp_path, small_clip, sampling=Sampling("num_frames", 3), dtype="float32")
    write_video(raw / "train" / "late.mp4", 30, seed=9)
    try:
        report = run(None, tmp_path, None)
    finally:
        (raw / "train" / "late.mp4").unlink()
    assert (report.written, report.kept, report.frames) == (1, 5, 3)


def test_a_changed_caption_makes_its_triple_anew(small_clip: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for name in ("a", "b"):
        write_video(raw / "train" / f"{name}.mp4", 10)
        (raw / "train" / f"{name}.txt").write_text(f"a video called {name}")
    run(raw, out, small_clip)
    (raw / "train" / "b.txt").write_text("a video with a new name")
    report = run(raw, out, small_clip)
    assert (report.written, report.kept) == (1, 1)
    layout = Layout(out, "CLIP-Test")
    assert read_triple(layout.processed, "train", _key_of(layout, "b")).text == "a video with a new name"
    (raw / "train" / "a.mp4").unlink()
    key = _key_of(layout, "a")
    run(raw, out, small_clip)
    assert not list((layout.processed / "train").glob(f"{key}.*")), "what is gone leaves no triple behind"


def test_a_missing_video_is_a_reject_until_it_turns_up(small_clip: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "videos" / "a.mp4", 10)
    table = tmp_path / "videos" / "list.csv"
    table.write_text("videoID,videoLoc,caption,split\na,a.mp4,first,train\nb,b.mp4,second,train\n")
    out = tmp_path / "out"
    assert dict(run(table, out, small_clip, recipe="table").rejects) == {"missing": 1}
    assert str(tmp_path) not in rejects(out)["b"].message, "messages are published: no paths of this machine"
    assert run(table, out, small_clip, recipe="table").written == 0
    write_video(tmp_path / "videos" / "b.mp4", 10)
    report = run(table, out, small_clip, recipe="table")
    assert (report.written, dict(report.rejects)) == (1, {})
    assert not Layout(out, "CLIP-Test").rejects.read_bytes()


def test_a_window_is_what_is_embedded_and_measured(small_clip: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "videos" / "a.mp4", 42)
    table = tmp_path / "videos" / "list.csv"
    rows = ["whole,a.mp4,,", "part,a.mp4,1.5,3.0", "tail,a.mp4,3.5,99", "beyond,a.mp4,50,60"]
    table.write_text("\n".join(["videoID,videoLoc,start_time,end_time", *rows]))
    report = run(table, tmp_path / "out", small_clip, recipe="table")
    assert dict(report.rejects) == {"empty_window": 1}
    layout = Layout(tmp_path / "out", "CLIP-Test")
    kept = [sample for sample in read_samples(layout.samples) if sample.meta["videoID"] != "beyond"]
    metas = {s.meta["videoID"]: read_triple(layout.processed, s.split, s.key).meta for s in kept}
    assert {key: meta["timestamps"] for key, meta in metas.items()} == {
        "whole": [0.0, 1.0, 2.0, 3.0, 4.0],
        "part": [1.5, 2.5],
        "tail": [3.5],
    }
    assert {key: meta["duration"] for key, meta in metas.items()} == pytest.approx(
        {"whole": 4.2, "part": 1.5, "tail": 0.7}
    )


def test_no_raw_data_and_a_run_beside_this_one_are_refused(raw: Path, small_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="nowhere"):
        run(tmp_path / "nowhere", tmp_path / "out", small_clip)
    with only_run(Layout(tmp_path, "CLIP-Test")), pytest.raises(UserError, match="another run"):
        run(raw, tmp_path, small_clip)
