"""Tars of videos, local and remote: what is listed, which frames come out, and what of a damaged one is kept."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import webdataset
from PIL import Image

from preprocess.errors import RawDataError
from preprocess.media import read_media
from preprocess.media.sampling import Sampling
from preprocess.pipeline.index import Source, still_rejected
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.read_sample import read_sample
from preprocess.recipes.webdataset import samples
from preprocess.sample_numbers import SampleNumbers
from preprocess.samples import RecipeOptions, Reject, Sample
from preprocess.storage import location
from tests.download.conftest import Site, site
from tests.media_files import all_frames, damage_packets, moving_noise, write_video

__all__ = ["site"]

OPTIONS = RecipeOptions()


def listed(raw: Path | str) -> tuple[list[Sample], list[Reject]]:
    entries = list(samples(location(raw), OPTIONS))
    return [e for e in entries if isinstance(e, Sample)], [e for e in entries if isinstance(e, Reject)]


def decoded(sample: Sample, raw: Path | str) -> Any:
    """Every frame, as a build would read it: relative to the folder that it works out of RAW."""
    folder = Source("webdataset", location(raw), OPTIONS).folder
    return read_sample(sample, str(folder), Sampling.every_nth(1), lambda image: image)


def write_tars(folder: Path, videos: Path, count: int = 2) -> dict[str, Path]:
    """Tars by `webdataset` itself, two videos in each; returns the videos by key."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for number in range(count):
        with webdataset.TarWriter(str(folder / f"{number:03d}.tar")) as writer:
            for i in range(2):
                key, suffix = f"{number}{i:03d}", ("mp4", "mkv")[i]
                found[key] = write_video(videos / f"{key}.{suffix}", 8, seed=10 * number + i)
                text = {"txt": f"caption {key}", "json": {"caption": "another", "fps": 10, "key": key}}
                writer.write({"__key__": key, suffix: found[key].read_bytes(), **text})
    return found


def test_members_decode_in_place_to_the_frames_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = write_tars(tmp_path / "shards", tmp_path)
    Image.new("RGB", (8, 6), (200, 30, 10)).save(tmp_path / "photo.png")
    with webdataset.TarWriter(str(tmp_path / "shards" / "002.tar")) as writer:
        writer.write({"__key__": "photo", "png": (tmp_path / "photo.png").read_bytes()})
    found, rejects = listed(tmp_path / "shards")
    assert not rejects
    assert {sample.key for sample in found} == {*videos, "photo"}
    unwritable = tmp_path / "nowhere"
    monkeypatch.setattr(tempfile, "tempdir", str(unwritable))  # nothing is copied anywhere
    for sample in found:
        media = decoded(sample, tmp_path / "shards")
        if sample.key == "photo":
            assert media.frames.pixels[0, 0, 0].tolist() == [200, 30, 10]
            continue
        pixels, times = all_frames(videos[sample.key])
        np.testing.assert_array_equal(media.frames.pixels, pixels)
        np.testing.assert_allclose(media.frames.timestamps_s, times, atol=1e-9)
        assert sample.captions == (f"caption {sample.key}",)
        tar = f"{sample.key[0].zfill(3)}.tar"
        assert sample.meta == {
            "videoID": sample.key,
            "fps": 10,
            "key_": sample.key,
            "source": f"{tar}/{videos[sample.key].name}",
        }
        status = (tmp_path / "shards" / tar).stat()
        assert media.stamp == (status.st_size, status.st_mtime_ns)


def test_a_video_ends_with_its_member(tmp_path: Path) -> None:
    """What is cut off is not continued with the bytes of the next member."""
    video = tmp_path / "v.mp4"
    with av.open(str(video), "w", options={"movflags": "faststart"}) as container:  # the table of packets comes first
        stream = container.add_stream("libx264", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in moving_noise(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    whole = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for key in ("a", "b"):
            writer.write({"__key__": key, "mp4": (tmp_path / "cut.mp4").read_bytes()})
    alone = read_media(tmp_path / "cut.mp4", Sampling.every_nth(1))
    found, _ = listed(tmp_path / "0.tar")
    for sample in found:
        media = decoded(sample, tmp_path / "0.tar")
        assert media.truncated
        assert alone.truncated
        assert 5 < len(alone.frames.pixels) < 20
        np.testing.assert_array_equal(media.frames.pixels, alone.frames.pixels)


def test_patterns_name_tars_in_any_folder(tmp_path: Path) -> None:
    raw = tmp_path / "a b"
    for split in ("train", "val"):
        write_tars(raw / split, tmp_path / split)
    for pattern in ("{train,val}/{000..001}.tar", "{train,val}/00{0,1}.tar"):
        found, rejects = listed(raw / pattern)
        assert not rejects
        assert {(s.split, s.media.partition("#")[0]) for s in found} == {
            (split, f"{split}/{number:03d}.tar") for split in ("train", "val") for number in range(2)
        }
        # Names that are in two tars get that of the tar; the others stay as they are.
        assert len({sample.key for sample in found}) == len(found) == 8
        assert all(decoded(sample, raw / pattern).frames.pixels.shape == (8, 48, 64, 3) for sample in found[::3])
    one, _ = listed(raw / "train" / "000.tar")
    assert [sample.key for sample in one] == ["0000", "0001"]
    assert decoded(one[0], raw / "train" / "000.tar").frames.pixels.shape == (8, 48, 64, 3)


def test_what_is_missing_or_damaged_costs_no_more_than_that(tmp_path: Path) -> None:
    videos = write_tars(tmp_path / "raw", tmp_path, count=3)
    tar = tmp_path / "raw" / "001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: whole.rindex(b"1001.mkv") + 1500])
    (tmp_path / "raw" / "002.tar").write_bytes(b"no tar" * 1000)
    found, rejects = listed(tmp_path / "raw" / "{000..003}.tar")
    assert {sample.key for sample in found} == {"0000", "0001", "1000"} < videos.keys()
    said = {reject.message.partition(": ")[0]: reject for reject in rejects}
    assert said["001.tar"].reason == "unreadable"
    assert "cut off inside '1001.mkv'" in said["001.tar"].message
    assert said["001.tar"].message.endswith("; what lies behind it is lost")
    assert said["002.tar"].reason == "unreadable"
    (missing,) = (reject for reject in rejects if reject.reason == "missing")
    assert missing.message == "003.tar does not exist"
    assert len(rejects) == 3


def test_each_fault_of_a_sample_is_a_reject_of_its_own(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 8)
    broken = damage_packets(write_video(tmp_path / "w.mp4", 8), 0, 8)
    parts: dict[str, dict[str, Any]] = {
        "good": {"mp4": video.read_bytes(), "json": b'{"loudness": NaN, "label": 3}'},
        "no_json": {"mp4": video.read_bytes(), "json": b"{"},
        "no_object": {"mp4": video.read_bytes(), "json": b"[1]"},
        "no_text": {"mp4": video.read_bytes(), "txt": b"\xff"},
        "empty": {"mp4": b""},
        "twice": {"mp4": video.read_bytes(), "avi": video.read_bytes()},
        "no_video": {"mp4": b"not a video" * 100},
        "broken": {"mp4": broken.read_bytes()},
    }
    with webdataset.TarWriter(str(tmp_path / "0.tar"), encoder=False) as writer:
        for key, of_key in parts.items():
            writer.write({"__key__": key, **of_key})
    found, rejects = listed(tmp_path / "0.tar")
    assert [sample.key for sample in found] == ["broken", "good", "no_video", "twice"]
    good = next(sample for sample in found if sample.key == "good")
    assert (good.label, good.captions, good.meta["loudness"]) == ("3", ("3",), None)
    assert sorted((reject.reason, reject.message.partition(":")[0]) for reject in rejects) == [
        ("duplicate", "0.tar has twice.avi too"),
        ("unreadable", "0.tar/empty.mp4 is empty"),
        ("unreadable", "0.tar/no_json"),
        ("unreadable", "0.tar/no_object"),
        ("unreadable", "0.tar/no_text"),
    ]
    assert all(reject.stage == "list" and str(tmp_path) not in reject.message for reject in rejects)
    outcome = {sample.key: decoded(sample, tmp_path / "0.tar") for sample in found}
    assert isinstance(outcome["no_video"], Reject)
    assert (outcome["no_video"].stage, outcome["no_video"].reason) == ("decode", "unreadable")
    assert "no_video.mp4" in outcome["no_video"].message
    assert isinstance(outcome["broken"], Reject) or outcome["broken"].truncated
    assert outcome["twice"].frames.pixels.shape[0] == 8


def test_cameras_of_one_moment_share_their_split_and_texts(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 4).read_bytes()
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for i in range(20):
            writer.write({"__key__": f"{i:03d}", "left.mp4": video, "right.mp4": video, "txt": f"moment {i}"})
    found, _ = listed(tmp_path / "0.tar")
    split = {sample.meta["videoID"]: sample.split for sample in found}
    assert len(split) == 40
    assert set(split.values()) == {"train", "val", "test"}
    assert all(split[f"{i:03d}.left"] == split[f"{i:03d}.right"] for i in range(20))
    assert {sample.captions[0] for sample in found} == {f"moment {i}" for i in range(20)}


def test_a_tar_without_a_split_beside_others_is_an_error(tmp_path: Path) -> None:
    write_tars(tmp_path / "train", tmp_path, count=1)
    write_tars(tmp_path / "more", tmp_path, count=1)
    with pytest.raises(RawDataError, match=r"more/000\.tar names no split, but train/000\.tar does"):
        listed(tmp_path)


@pytest.mark.parametrize("name", ["{000..002}.tar", "0.tar", "0.zip"])
def test_nothing_at_all_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match=r"exist") as error:
        listed(tmp_path / name)
    assert "00000.tar" in error.value.layout


def test_from_a_web_server_only_ranges_are_asked_for(tmp_path: Path, site: Site) -> None:
    videos = write_tars(tmp_path / "shards", tmp_path)
    for tar in sorted((tmp_path / "shards").iterdir()):
        site.serve(f"data/{tar.name}?secret=1", tar.read_bytes())
    raw = f"{site.address}/data/{{000..002}}.tar?secret=1"
    found, rejects = listed(raw)
    assert [(reject.reason, reject.message) for reject in rejects] == [
        ("missing", f"{site.address}/data/002.tar does not exist")
    ]
    assert {sample.key for sample in found} == videos.keys()
    assert "secret" not in json.dumps([dict(sample.meta) for sample in found])
    site.requests.clear()
    for sample in found:
        pixels, _ = all_frames(videos[sample.key])
        media = decoded(sample, raw)
        np.testing.assert_array_equal(media.frames.pixels, pixels)
        assert media.stamp[0] == (tmp_path / "shards" / f"{sample.key[0].zfill(3)}.tar").stat().st_size
    ranges = [headers.get("Range") for path, headers in site.requests if "Range" in headers]
    sizes = sorted(
        int(last) - int(first) + 1 for one in ranges for first, last in [one.removeprefix("bytes=").split("-")]
    )
    assert sizes == sorted(path.stat().st_size for path in videos.values())


def test_a_server_without_ranges_gives_no_wrong_video(tmp_path: Path, site: Site) -> None:
    write_tars(tmp_path / "shards", tmp_path, count=1)
    raw = site.serve("0.tar", (tmp_path / "shards" / "000.tar").read_bytes(), ranges=False)
    found, rejects = listed(raw)
    assert not rejects
    for sample in found:
        media = decoded(sample, raw)
        assert isinstance(media, Reject)
        assert (media.stage, media.reason) == ("find", "download_failed")


def test_from_a_bucket(tmp_path: Path, s3: str) -> None:
    videos = write_tars(tmp_path / "shards", tmp_path)
    base = f"{s3}/{uuid.uuid4().hex}"
    for tar in sorted((tmp_path / "shards").iterdir()):
        (location(base) / "train" / tar.name).write_bytes(tar.read_bytes())
    for raw in (base, f"{base}/train/{{000..001}}.tar", f"{base}/{{train,val}}/{{000..001}}.tar"):
        found, _ = listed(raw)
        assert {sample.key for sample in found} == videos.keys(), raw
        media = decoded(found[0], raw)
        np.testing.assert_array_equal(media.frames.pixels, all_frames(videos[found[0].key])[0])


def test_more_tars_in_a_bucket_than_are_listed_at_once(tmp_path: Path, s3: str) -> None:
    (tmp_path / "shards").mkdir()
    base = f"{s3}/{uuid.uuid4().hex}"
    for number in range(40):
        with webdataset.TarWriter(str(tmp_path / "shards" / f"{number:03d}.tar")) as writer:
            writer.write({"__key__": f"{number // 2:03d}", "mp4": b"some video", "txt": f"caption {number}"})
        (location(base) / f"{number:03d}.tar").write_bytes((tmp_path / "shards" / f"{number:03d}.tar").read_bytes())
    found, rejects = listed(base)
    assert (found, rejects) == listed(tmp_path / "shards")
    assert len(found) == 40
    assert {(sample.media[:7], sample.captions[0]) for sample in found} == {
        (f"{number:03d}.tar", f"caption {number}") for number in range(40)
    }


def test_a_member_that_was_missing_is_tried_again_when_its_tar_is_there(tmp_path: Path) -> None:
    write_tars(tmp_path / "raw", tmp_path, count=1)
    (sample, *_), _ = listed(tmp_path / "raw")
    ledger = Ledger(tmp_path / "rejects.jsonl")
    with ledger:
        ledger.add(Reject(sample.key, sample.split, "find", "missing", "000.tar does not exist"))
    numbers = SampleNumbers([sample])
    assert still_rejected(ledger, numbers, str(tmp_path / "raw")).tolist() == [False]
    (tmp_path / "raw" / "000.tar").unlink()
    assert still_rejected(ledger, numbers, str(tmp_path / "raw")).tolist() == [True]
