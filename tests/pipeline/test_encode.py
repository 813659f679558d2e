"""Encoding a folder of real videos, from raw files to triples, with real worker processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from preprocess import temporary
from preprocess.encoders import encoder_spec
from preprocess.encoders.devices import has_gpu_driver
from preprocess.errors import REASONS, RawDataError, SettingsError, UserError
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.places import TriplePlace
from preprocess.formats.processed import Processed
from preprocess.formats.triple_files import read_triple
from preprocess.formats.triples import npy_array
from preprocess.media import rows_on_disk
from preprocess.media.sampling import Sampling
from preprocess.pipeline import engine, targets
from preprocess.pipeline.encode import EncodeOutput, encode_datasets
from preprocess.pipeline.encode_output import read_samples
from preprocess.pipeline.feed import EncodeOnDevices
from preprocess.pipeline.index import only_run, read_source, resolve_source, write_samples
from preprocess.pipeline.settings import EncodeOptions, resolve_encoding
from preprocess.recipes import load
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import EncodeReport, Reject
from preprocess.storage import atomic_file, fingerprint
from tests.media_files import all_frames, write_audio, write_video
from tests.object_store import copy_folder
from tests.pipeline.conftest import on_disk

LENGTHS = {"a": 25, "b": 1, "c": 40, "d": 12, "e": 31}


@pytest.fixture(scope="module")
def raw(new_folder: Callable[[], Path]) -> Path:
    """Five good videos of 0.1 to 4 s, a text file and a sound that call themselves videos."""
    folder = new_folder()
    for seed, (name, n_frames) in enumerate(LENGTHS.items()):
        write_video(folder / "train" / f"{name}.mp4", n_frames, seed=seed)
    (folder / "train" / "not_a_video.mp4").write_text("just text")
    write_audio(folder / "train" / "sound.mp4")
    return folder


def run(raw: Path | None, out: Path, model: Path | None, recipe: str = "folder", **options: Any) -> EncodeReport:
    """What `python -m preprocess encode` does, in this process."""
    module, layout = load(recipe), Layout(out, "CLIP-Test")
    processed, check_urls = options.pop("processed", "files"), options.pop("check_urls", True)
    chosen = {field.name: options.pop(field.name) for field in dataclasses.fields(RunOptions) if field.name in options}
    source = resolve_source(module, layout, raw and str(raw))
    encoding = resolve_encoding(module.SPEC, layout, EncodeOptions(model=model and str(model), **options))
    with only_run(layout):
        samples = read_source(module, source)
        write_samples(samples, source, layout)
        runtime = RunOptions(**{"workers": 2, **chosen})
        output = EncodeOutput(layout, encoding)
        (report,) = encode_datasets(
            samples, str(source.folder), [output], runtime, processed=processed, check_urls=check_urls
        )
        return report


def content(out: Path) -> dict[str, str]:
    """SHA-256 of every file a run leaves, except those about the machine, the clock and the options of a command."""
    work = Layout(out, "CLIP-Test").work
    files = (path for path in sorted(work.rglob("*")) if path.is_file())
    skip = {"source.json", "build_report.json", "options.json", ".lock"}
    return {str(p.relative_to(work)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name not in skip}


def rejects(out: Path) -> dict[str, Reject]:
    lines = Layout(out, "CLIP-Test").rejects.read_text().splitlines()
    return {reject.key: reject for reject in (Reject(**json.loads(line)) for line in lines)}


@pytest.fixture(scope="module")
def undisturbed(raw: Path, small_clip: Path, new_folder: Callable[[], Path]) -> Path:
    """The output of one run with one worker."""
    out = new_folder()
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


def _places(triples: Processed, layout: Layout, stem: str) -> list[TriplePlace]:
    """The place of that sample's triple."""
    samples = [sample for sample in read_samples(layout.samples) if sample.key == _key_of(layout, stem)]
    return triples.find(samples).take(np.arange(1), samples)


@pytest.mark.parametrize("workers", [2, 4])
def test_bytes_do_not_depend_on_the_number_of_workers(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, workers: int
) -> None:
    run(raw, tmp_path, small_clip, workers=workers)
    assert content(tmp_path) == content(undisturbed)


def test_bytes_do_not_depend_on_how_samples_are_held(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As objects, or as rows of a table; a second run adds what became good."""
    from preprocess.pipeline import plan
    from preprocess.sample_table import SampleTable

    monkeypatch.setattr(plan, "AS_OBJECTS", 2)
    module, layout = load("folder"), Layout(tmp_path, "CLIP-Test")
    assert isinstance(read_source(module, resolve_source(module, layout, str(raw))), SampleTable)
    run(raw, tmp_path, small_clip)
    assert content(tmp_path) == content(undisturbed)
    next((layout.processed / "train").glob("*.json")).unlink()
    assert run(raw, tmp_path, small_clip).written == 1
    assert content(tmp_path) == content(undisturbed)


def test_bytes_do_not_depend_on_where_frames_are_held(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, or, of long videos, in a file."""
    made = []

    class Noted(rows_on_disk.RowsOnDisk):
        def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
            made.append(shape)
            super().__init__(shape, dtype)

    monkeypatch.setattr(rows_on_disk, "HELD_BYTES", 0)
    monkeypatch.setattr(rows_on_disk, "RowsOnDisk", Noted)
    run(raw, tmp_path, small_clip, executor="inline")
    assert content(tmp_path) == content(undisturbed)
    assert len(made) >= 5


ELSEWHERE = "tests.fakes.executor:FreshProcessExecutor.from_options"


@pytest.mark.parametrize(
    ("executor", "per_task", "limit"),
    [("inline", 99, 1 << 30), ("inline", 99, 20_000), (ELSEWHERE, 4, 1 << 30)],
    ids=["here", "with little shared memory", "placed by an executor"],
)
def test_the_engine_for_devices_writes_the_same_bytes(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, executor: str, per_task: int, limit: int
) -> None:
    """Decode in workers, send frames, encode on two devices (both the CPU): what a GPU machine runs."""
    from preprocess.encoders.devices import choose_precision
    from preprocess.encoders.models import resolve

    torch.set_num_threads(1)
    files = resolve(str(small_clip))
    before = Layout(undisturbed, "CLIP-Test")
    processed = tmp_path / "processed"
    (processed / "train").mkdir(parents=True)
    target = targets.EncoderTarget(
        model=files,
        spec=encoder_spec(files),
        clip_stride=1,
        precision=choose_precision("auto", "cpu"),
        batch_size=32,
        dtype="float16",
        processed=Processed(processed),
    )
    settings = targets.EncodeSettings(str(raw), Sampling("fps", 1), "first", (target,))
    encode = EncodeOnDevices(settings, ("cpu", "cpu"), RunOptions(workers=2), limit)
    outer = RunOptions(workers=1, executor=executor)
    items = [targets.EncodeItem(sample, (0,)) for sample in read_samples(before.samples)]
    reports = list(run_items(items, encode, outer, per_task=per_task))
    assert len(reports) == 7
    assert sum(isinstance(report, Reject) for report in reports) == 2
    for path in sorted((before.processed / "train").iterdir()):
        assert (processed / "train" / path.name).read_bytes() == path.read_bytes(), path.name
    # Folders of runs that are at work beside this test are locked.
    assert temporary.remove_leftovers(temporary.SHARED_MEMORY) == 0, "nothing is left in shared memory"


def test_a_second_run_does_nothing(raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path) -> None:
    copy_folder(undisturbed, tmp_path)
    before = {path: fingerprint(path) for path in tmp_path.rglob("*") if path.is_file()}
    report = run(raw, tmp_path, small_clip)
    assert (report.written, report.kept, sum(report.rejects.values())) == (0, 5, 2)
    after = {path: fingerprint(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {p for p in after if after[p] != before.get(p)} <= {Layout(tmp_path, "CLIP-Test").work / ".lock"}


@pytest.mark.parametrize("delay_s", [2.5, 4.0, 5.0])
def test_killed_and_run_again_gives_the_same_bytes(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, root: Path, delay_s: float
) -> None:
    command = [sys.executable, "-m", "preprocess", "encode", "folder", "--name", "CLIP-Test", "--raw", str(raw)]
    command += ["--out", str(tmp_path), "--model", str(small_clip), "--workers", "2", "--processed", "files"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(delay_s)
        process.kill()
    run(raw, tmp_path, small_clip)
    assert content(tmp_path) == content(undisturbed)


@dataclass(frozen=True)
class BadDecoder:
    """The real function, with a decoder that dies or hangs on one video: FFmpeg's faults cannot be ordered."""

    settings: targets.EncodeSettings
    fault: str = "crash"

    def __call__(self, task: Task[targets.EncodeItem], watch: Watch) -> Iterator[Any]:
        def watch_and_fail(item: str | None) -> None:
            watch(item)
            if item is not None and item.split("-")[0].endswith("c"):
                self.fail()

        yield from engine.EncodeSamples(self.settings)(task, watch_and_fail)

    def fail(self) -> None:
        if self.fault == "crash":
            os.abort()
        time.sleep(600)


@dataclass(frozen=True)
class HangingDecoder(BadDecoder):
    fault: str = "hang"


@dataclass(frozen=True)
class KilledOnce(BadDecoder):
    """A worker that something outside kills while it decodes a good video, as the kernel does when memory is short."""

    def fail(self) -> None:
        processed = self.settings.targets[0].processed.folder
        mark = processed / "killed"
        if not mark.exists():
            mark.touch()
            with atomic_file(processed / "train" / "half.npy") as file:
                file.write(b"half")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_from_outside_costs_nothing(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "EncodeSamples", KilledOnce)
    assert run(raw, tmp_path, small_clip).written == 5
    (Layout(tmp_path, "CLIP-Test").processed / "killed").unlink()
    assert content(tmp_path) == content(undisturbed)


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
    monkeypatch.setattr(engine, "EncodeSamples", decoder)
    report = run(raw, tmp_path, small_clip, time_limit_s=6.0)
    assert report.written == 4
    key = _key_of(Layout(tmp_path, "CLIP-Test"), "c")
    assert rejects(tmp_path)[key].reason == reason
    monkeypatch.undo()
    assert run(raw, tmp_path, small_clip).written == 0, "a reject is not tried again by itself"
    assert run(raw, tmp_path, small_clip, retry=frozenset(REASONS)).written == 1
    assert {one.attempts for one in rejects(tmp_path).values()} == {2}
    expected = content(undisturbed)
    assert {**content(tmp_path), "rejects.jsonl": expected["rejects.jsonl"]} == expected


def test_only_some_reasons_are_tried_again(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, new_folder: Callable[[], Path]
) -> None:
    copy_folder(undisturbed, tmp_path)
    run(raw, tmp_path, small_clip, retry=frozenset({"unreadable"}))
    run(raw, tmp_path, small_clip, retry=frozenset({"unreadable", "timeout"}))
    assert {one.reason: one.attempts for one in rejects(tmp_path).values()} == {"unreadable": 3, "no_video_stream": 1}


def test_a_raw_file_that_was_replaced_is_encoded_again(small_clip: Path, tmp_path: Path, storage: str) -> None:
    processed = "files" if storage == "local" else "parts"
    raw, out = tmp_path / "raw", tmp_path / "out"
    for seed, name in enumerate("ab"):
        write_video(raw / "train" / f"{name}.mp4", 20, seed=seed)
    (raw / "train" / "c.mp4").write_text("a download that failed")
    options: dict[str, Any] = {"processed": processed, "precision": "fp32", "dtype": "float32"}
    first = run(raw, out, small_clip, **options)
    assert (first.written, first.changed, dict(first.rejects)) == (2, 0, {"unreadable": 1})
    layout = Layout(out, "CLIP-Test")
    triples = Processed(layout.processed)
    before = _places(triples, layout, "a")

    for name, seed in (("b", 7), ("c", 8)):
        (raw / "train" / f"{name}.mp4").unlink()
        write_video(raw / "train" / f"{name}.mp4", 20, seed=seed)
    again = run(raw, out, small_clip, **options)
    assert (again.written, again.changed, again.kept, dict(again.rejects)) == (2, 2, 1, {})
    third = run(raw, out, small_clip, **options)
    assert (third.written, third.changed, third.kept) == (0, 0, 3)

    if processed == "files":
        assert _places(triples, layout, "a") == before, "what did not change is left alone"
    for name in "abc":
        key = _key_of(layout, name)
        (stored,) = triples.read("train", _places(triples, layout, name))
        expected = plain_embeddings(small_clip, raw / "train" / f"{name}.mp4", np.arange(2.0))
        np.testing.assert_allclose(npy_array(stored["npy"], key), expected, atol=1e-5)
    assert not list(layout.dataset.rglob("journal.jsonl")), "stamps stay beside the triples"


def test_a_raw_file_that_is_gone_keeps_its_triple(small_clip: Path, tmp_path: Path) -> None:
    table = tmp_path / "videos" / "list.csv"
    write_video(tmp_path / "videos" / "a.mp4", 10)
    table.write_text("videoID,videoLoc\na,a.mp4\n")
    assert run(table, tmp_path / "out", small_clip, recipe="table").written == 1
    (tmp_path / "videos" / "a.mp4").unlink()
    report = run(table, tmp_path / "out", small_clip, recipe="table")
    assert (report.written, report.kept, report.changed) == (0, 1, 0)


@on_disk
def test_media_at_an_address_is_encoded_again_when_its_server_says_that_it_changed(
    small_clip: Path, tmp_path: Path
) -> None:
    """One server that gives ETags, and the question to it can be left out."""
    files = tmp_path / "files"
    write_video(files / "a.mp4", 10, seed=1)
    requests: list[str] = []
    with serve(files, requests) as address:
        table = tmp_path / "list.csv"
        table.write_text(f"videoID,videoLoc\na,{address}/a.mp4\n")
        out = tmp_path / "out"
        assert run(table, out, small_clip, recipe="table").written == 1
        requests.clear()
        assert run(table, out, small_clip, recipe="table").kept == 1
        assert requests == ["HEAD /a.mp4"], "one request per sample, and none for its content"
        size = (files / "a.mp4").stat().st_size
        (files / "a.mp4").write_bytes((files / "a.mp4").read_bytes()[:-1] + b"\1")
        assert (files / "a.mp4").stat().st_size == size
        requests.clear()
        report = run(table, out, small_clip, recipe="table", check_urls=False)
        assert (report.kept, requests) == (1, [])
        report = run(table, out, small_clip, recipe="table")
        assert (report.written, report.changed, report.kept) == (1, 1, 0)
    assert run(table, out, small_clip, recipe="table").kept == 1, "a server that is away has changed nothing"


class _WithETag(SimpleHTTPRequestHandler):
    requests: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.requests.append(f"HEAD {self.path}")
        super().do_HEAD()

    def do_GET(self) -> None:
        self.requests.append(f"GET {self.path}")
        super().do_GET()

    def end_headers(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        super().end_headers()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Last-Modified":
            super().send_header(keyword, value)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(folder: Path, requests: list[str]) -> Iterator[str]:
    handler = type("Handler", (_WithETag,), {"requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@on_disk
def test_after_a_power_failure_only_what_is_certainly_on_disk_counts(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal of another boot that ends in the middle of a run, and triples that the failure left empty."""
    copy_folder(undisturbed, tmp_path)
    layout = Layout(tmp_path, "CLIP-Test")
    lines = layout.journal.read_text().splitlines()
    certain = lines[:2]
    layout.journal.write_text("\n".join([*certain, '{"synced": true}', '{"boot": "earlier"}', *lines[2:-1]]) + "\n")
    keys = {json.loads(line)["key"] for line in certain}
    there = {path.stem for path in (layout.processed / "train").glob("*.npy")}
    for key in there - keys:
        (layout.processed / "train" / f"{key}.npy").write_bytes(b"")
    report = run(raw, tmp_path, small_clip)
    assert (report.kept, report.written) == (len(there & keys), len(there - keys))
    assert content(tmp_path) == content(undisturbed)


def test_other_settings_over_existing_triples_are_refused(
    raw: Path, small_clip: Path, undisturbed: Path, tmp_path: Path, local_folder: Path
) -> None:
    copy_folder(undisturbed, tmp_path)
    with pytest.raises(SettingsError, match=r"sampling.value = 1.0, not 2.0"):
        run(raw, tmp_path, small_clip, sampling=Sampling("fps", 2))
    with pytest.raises(SettingsError, match=r"encoder.dtype = 'float16', not 'float32'"):
        run(raw, tmp_path, small_clip, dtype="float32")
    other = local_folder / "another-model"
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
    for gone in (raw / "train").glob("a.*"):
        gone.unlink()
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


WITHOUT_TORCH = """
import sys
from preprocess.__main__ import app

app(sys.argv[1:], standalone_mode=False)
print("torch imported:", "torch" in sys.modules)
"""


@pytest.mark.skipif(has_gpu_driver(), reason="where there is a GPU, this process holds the encoder")
def test_without_a_gpu_only_workers_import_torch(raw: Path, root: Path, small_clip: Path, tmp_path: Path) -> None:
    options = ["encode", "folder", "--raw", str(raw), "--out", str(tmp_path), "--model", str(small_clip)]
    command = [sys.executable, "-c", WITHOUT_TORCH, *options, "--max-reject-rate", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert "5 triples written" in done.stdout, done.stderr
    assert "torch imported: False" in done.stdout
