"""Every defect that is planted is found, under its own code and no other; a sound dataset has none."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builders.card_yaml import card_data, front_matter
from builders.findings import REMEDIES, Finding, Findings
from builders.sample_check import SampleSchema, check_sample
from builders.verify import verify
from preprocess.errors import UserError
from preprocess.formats.tar import end_of_archive, iter_members, member
from preprocess.formats.triples import npy_bytes
from preprocess.runtime.options import RunOptions
from preprocess.samples import ShardReport
from tests.builders.conftest import types_of

Members = list[tuple[str, bytes]]


# --- tools: take a tar apart, put it together again, make the tables agree with it ------------------------------------


def members(tar: Path) -> Members:
    return [(m.name, bytes(m.data)) for m in iter_members(tar)]


def tar_bytes(parts: Members) -> bytes:
    body = b"".join(member(name, data) for name, data in parts)
    return body + end_of_archive(len(body))


def reseal(folder: Path, spec: Any, dim: int) -> None:
    """Makes sizes.json, the manifest and the card agree with the tars, so that one defect is all there is to find."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for entry in manifest["shards"]:
        data = (folder / entry["file"]).read_bytes()
        entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    write_json(folder / "manifest.json", manifest)
    shards = [ShardReport(**entry) for entry in manifest["shards"]]
    text = front_matter(card_data(spec, shards, dim=dim, dtype=manifest["encoder"]["dtype"], types=types_of(folder)))
    (folder / "README.md").write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def codes(folder: Path) -> set[str]:
    return {finding.code for finding in verify(folder).findings}


def npy(array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0), pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=pickled)
    return file.getvalue()


def vectors_of(data: bytes) -> np.ndarray[Any, Any]:
    return np.load(io.BytesIO(data), allow_pickle=False).copy()


# --- defects inside a tar ---------------------------------------------------------------------------------------------


def on(extension: str, change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    """Changes the data of the second sample's member with this extension."""

    def defect(parts: Members) -> Members:
        index = [i for i, (name, _) in enumerate(parts) if name.endswith(extension)][1]
        parts[index] = (parts[index][0], change(parts[index][1]))
        return parts

    return defect


def on_vectors(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Callable[[Members], Members]:
    return on(".npy", lambda data: npy(change(vectors_of(data))))


def on_meta(**values: Any) -> Callable[[Members], Members]:
    def change(data: bytes) -> bytes:
        meta = json.loads(data)
        for key, value in values.items():
            meta[key] = value(meta) if callable(value) else value
        return json.dumps(meta).encode()

    return on(".json", change)


def setting(index: Any, value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array[index] = value
        return array

    return change


def renamed(old: str, new: str) -> Callable[[Members], Members]:
    return lambda parts: [(name.replace(old, new), data) for name, data in parts]


def swapped(i: int, j: int, length: int = 1) -> Callable[[Members], Members]:
    def defect(parts: Members) -> Members:
        parts[i : i + length], parts[j : j + length] = parts[j : j + length], parts[i : i + length]
        return parts

    return defect


IN_TAR: dict[str, tuple[Callable[[Members], Members], str]] = {
    "npy cut off": (on(".npy", lambda data: data[:-2]), "npy_unreadable"),
    "npy is text": (on(".npy", lambda data: b"hello"), "npy_unreadable"),
    "npy of objects": (on(".npy", lambda data: npy(np.array([[None]]), pickled=True)), "npy_layout"),
    "npy version 2": (on(".npy", lambda data: npy(vectors_of(data), version=(2, 0))), "npy_layout"),
    "npy in Fortran order": (
        on(".npy", lambda data: npy(np.asfortranarray(np.ones((2, 16), "<f2")))),
        "npy_layout json_frames json_timestamps",
    ),
    "npy big-endian": (on_vectors(lambda a: a.astype(">f2")), "npy_layout"),
    "npy float32 among float16": (on_vectors(lambda a: a.astype("<f4")), "npy_dtype"),
    "npy of integers": (on_vectors(lambda a: np.ones_like(a, "<i2")), "npy_dtype"),
    "npy one-dimensional": (on_vectors(lambda a: a[0]), "npy_shape"),
    "npy of another width": (on_vectors(lambda a: a[:, :-1]), "npy_shape"),
    "npy without rows": (on_vectors(lambda a: a[:0]), "npy_empty json_frames json_timestamps"),
    "a NaN": (on_vectors(setting((0, 3), np.nan)), "npy_not_finite"),
    "minus infinity": (on_vectors(setting((-1, 0), -np.inf)), "npy_not_finite"),
    "a row of zeros": (on_vectors(setting((-1, slice(None)), -0.0)), "npy_zero_row"),
    "caption in Latin-1": (on(".txt", lambda data: "Frühling".encode("latin-1")), "txt_utf8"),
    "caption empty": (on(".txt", lambda data: b" \n"), "txt_empty txt_caption"),
    "caption of another sample": (on(".txt", lambda data: b"a blue square"), "txt_caption"),
    "json cut off": (on(".json", lambda data: data[:-1]), "json_unreadable"),
    "json with NaN": (on_meta(score=float("nan")), "json_unreadable"),
    "json is a list": (on(".json", lambda data: b"[]"), "json_unreadable"),
    "json not UTF-8": (on(".json", lambda data: data.replace(b"red", b"r\xe9d")), "json_unreadable"),
    "json key missing": (on(".json", lambda d: _without(d, "note")), "json_keys"),
    "json key besides": (on_meta(extra=1), "json_keys"),
    "json keys in another order": (on(".json", lambda d: _sorted(d)), "json_keys"),
    "n_frames one too many": (on_meta(n_frames=lambda m: m["n_frames"] + 1), "json_frames"),
    "a timestamp too many": (on_meta(timestamps=lambda m: [*m["timestamps"], 99.0]), "json_timestamps"),
    "timestamps fall": (on_meta(timestamps=lambda m: [-t for t in m["timestamps"]]), "json_timestamps"),
    "timestamps repeat": (on_meta(timestamps=lambda m: [m["timestamps"][0]] * len(m["timestamps"])), "json_timestamps"),
    "timestamps are text": (on_meta(timestamps="0.0"), "json_timestamps"),
    "captions empty": (on_meta(captions=[]), "json_value"),
    "key with a dot": (on_meta(key="a.b"), "json_value"),
    "duration negative": (on_meta(duration=-1.0), "json_value"),
    "window turned round": (on_meta(start_time=2.0, end_time=1.0), "json_value"),
    "window of no length": (on_meta(start_time=1.0, end_time=1.0), "json_value"),
    "source is a host path": (on_meta(source="/home/me/a.mp4"), "json_value"),
    "label empty": (on_meta(label=""), "json_value"),
    "member twice": (lambda parts: [*parts[:2], parts[1], *parts[2:]], "member_twice"),
    "json before txt": (swapped(1, 2), "member_order"),
    "samples interleaved": (swapped(1, 3), "id_order id_twice triple_part member_order key_twice"),
    "txt missing": (lambda parts: parts[:1] + parts[2:], "triple_part"),
    "npy missing": (lambda parts: parts[1:], "triple_part"),
    "a jpg among the triples": (lambda parts: [*parts[:3], ("vid_00000.jpg", b"x"), *parts[3:]], "member_name"),
    "an upper-case extension": (renamed("vid_00001.txt", "vid_00001.TXT"), "member_name triple_part"),
    "a dot in an id": (renamed("vid_00001.txt", "vid_00001.a.txt"), "member_name triple_part"),
    "four digits": (lambda parts: [(n.replace("vid_0", "vid_"), d) for n, d in parts], "member_name id_gap"),
    "six digits": (renamed("vid_0", "vid_00"), "id_width"),
    "samples in another order": (swapped(3, 6, 3), "id_order id_gap"),
    "a number left out": (renamed("vid_00004", "vid_90004"), "id_gap id_order"),
    "a number twice": (renamed("vid_00001", "vid_00006"), "id_twice id_gap id_order"),
}  # fmt: skip


def _sorted(data: bytes) -> bytes:
    return json.dumps(json.loads(data), sort_keys=True).encode()


def _without(data: bytes, key: str) -> bytes:
    meta = json.loads(data)
    del meta[key]
    return json.dumps(meta).encode()


@pytest.mark.parametrize("name", IN_TAR)
def test_defect_inside_a_tar(name: str, make_dataset: Any, dataset_spec: Any):
    folder = make_dataset()
    plant, expected = IN_TAR[name]
    tar = folder / "ds_00000.tar"
    tar.write_bytes(tar_bytes(plant(members(tar))))
    reseal(folder, dataset_spec, 16)
    assert codes(folder) >= set(expected.split()[:1])
    assert codes(folder) - {"manifest_counts", "sizes_json", "card_counts", "shard_size"} <= set(expected.split())


# --- defects of the archive itself ------------------------------------------------------------------------------------


def with_tarfile(parts: Members, tar_format: int, **attributes: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as tar:
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def with_link(parts: Members, kind: bytes, at_end: bool) -> bytes:
    info = tarfile.TarInfo("vid_00009.npy")
    info.type, info.linkname = kind, "/etc/passwd"
    body = b"".join(member(name, data) for name, data in parts)
    link = info.tobuf(tarfile.USTAR_FORMAT)
    body = body + link if at_end else link + body
    return body + end_of_archive(len(body))


ARCHIVES: dict[str, tuple[Callable[[Members], bytes], str]] = {
    "PAX": (lambda p: with_tarfile(p, tarfile.PAX_FORMAT, pax_headers={"comment": "x"}), "tar_format"),
    "GNU": (lambda p: with_tarfile(p, tarfile.GNU_FORMAT), "tar_format"),
    "clock times": (lambda p: with_tarfile(p, tarfile.USTAR_FORMAT, mtime=1_700_000_000), "tar_header"),
    "an owner": (lambda p: with_tarfile(p, tarfile.USTAR_FORMAT, uname="me", uid=1000), "tar_header"),
    "an owner alone": (lambda p: with_tarfile(p, tarfile.USTAR_FORMAT, uname="me"), "tar_header"),
    "another mode": (lambda p: with_tarfile(p, tarfile.USTAR_FORMAT, mode=0o600), "tar_header"),
    "a link first": (lambda p: with_link(p, tarfile.SYMTYPE, False), "tar_kind"),
    "a link last": (lambda p: with_link(p, tarfile.LNKTYPE, True), "tar_kind"),
    "a device": (lambda p: with_link(p, tarfile.CHRTYPE, True), "tar_kind"),
    "a name that climbs": (lambda p: with_tarfile([("../x.npy", b""), *p], tarfile.USTAR_FORMAT), "member_name"),
    "a folder in names": (lambda p: with_tarfile([("a/vid_00000.npy", b""), *p], tarfile.USTAR_FORMAT), "member_name"),
    "no end": (lambda p: b"".join(member(*part) for part in p), "tar_damaged"),
    "no padding": (lambda p: tar_bytes(p).rstrip(b"\0") + bytes(2048), "tar_end"),
    "something behind the end": (lambda p: tar_bytes(p) + b"x" * 512, "tar_end"),
    "a flipped bit in a header": (lambda p: b"W" + tar_bytes(p)[1:], "tar_damaged"),
    "empty file": (lambda p: b"", "tar_damaged"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_defect_of_the_archive(name: str, make_dataset: Any, dataset_spec: Any):
    folder = make_dataset()
    plant, expected = ARCHIVES[name]
    tar = folder / "ds_00000.tar"
    tar.write_bytes(plant(members(tar)))
    reseal(folder, dataset_spec, 16)
    found = codes(folder)
    assert expected in found
    if expected != "tar_damaged":  # a tar that ends early lacks what the tables say, of course
        assert found == {expected}


def test_a_cut_tar_says_where(make_dataset: Any):
    folder = make_dataset()
    tar = folder / "ds_00001.tar"
    tar.write_bytes(tar.read_bytes()[:5000])
    damaged = [f for f in verify(folder).findings if f.code == "tar_damaged"]
    assert [f.where for f in damaged] == ["ds_00001.tar"]
    assert "cut off" in damaged[0].problem
    assert "byte" in damaged[0].problem


# --- defects of the folder, the tables and the card -------------------------------------------------------------------


def edit_json(file: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def defect(folder: Path) -> None:
        value = json.loads((folder / file).read_bytes())
        change(value)
        write_json(folder / file, value)

    return defect


def edit_text(file: str, old: str, new: str) -> Callable[[Path], None]:
    def defect(folder: Path) -> None:
        text = (folder / file).read_text("utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return defect


def removed(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def added(file: str, text: str = "") -> Callable[[Path], None]:
    def defect(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")

    return defect


def moved(folder: Path) -> None:
    (folder / "ds_00003.tar").rename(folder / "ds_00007.tar")


def flipped(folder: Path) -> None:
    """One bit of one vector: every number stays a number, only the checksum can tell."""
    tar = folder / "ds_00000.tar"
    data = bytearray(tar.read_bytes())
    data[512 + 128] ^= 1
    tar.write_bytes(bytes(data))


def linked_outside(folder: Path) -> None:
    """The file exists, but not in the dataset."""
    (folder.parent / "notes.txt").touch()
    edit_text("README.md", "# CLIP", "[x](../notes.txt)\n# CLIP")(folder)


def rejected_twice(folder: Path) -> None:
    path = folder / "rejects.jsonl"
    path.write_text(path.read_text("utf-8").replace("lost_video", "train_000"), encoding="utf-8")


def preview(*parts: tuple[str, bytes]) -> Callable[[Path], None]:
    """Adds contact sheets that the card does not know of."""

    def defect(folder: Path) -> None:
        (folder / "preview").mkdir()
        (folder / "preview" / "train_00000.tar").write_bytes(tar_bytes(list(parts)))

    return defect


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return file.getvalue()


JPG, TXT = ("vid_00000.jpg", jpeg()), ("vid_00000.txt", b"a sheet")
NO_CONFIG = "card_configs card_features card_counts"

IN_FOLDER: dict[str, tuple[Callable[[Path], None], str]] = {
    "a loading script": (added("CLIP-Shapes.py"), "root_script"),
    "a temporary file": (added(".ds_00000.tar.tmp"), "stray_file"),
    "a stray folder": (added("processed/x.npy"), "stray_file"),
    "a tar of another name": (lambda f: (f / "extra.tar").write_bytes(tar_bytes([])) and None, "shard_name"),
    "a tar that no table names": (lambda f: (f / "ds_00004.tar").write_bytes(tar_bytes([])) and None, "shard_unlisted"),
    "a tar is gone": (removed("ds_00003.tar"), "shard_missing card_configs card_counts"),
    "a tar moved": (moved, "shard_name shard_missing shard_unlisted card_configs card_counts"),
    "one bit flipped": (flipped, "manifest_sha256"),
    "splits.csv is gone": (removed("splits.csv"), "splits_csv"),
    "splits.csv with another header": (edit_text("splits.csv", "tar_file,split", "file,split"), "splits_csv"),
    "splits.csv names a tar twice": (edit_text("splits.csv", "ds_00001", "ds_00000"), "splits_csv"),
    "splits.csv with a path": (edit_text("splits.csv", "ds_00001", "../ds_00001"), "splits_csv"),
    "splits.csv with another split": (
        edit_text("splits.csv", "ds_00002.tar,val", "ds_00002.tar,test"),
        "manifest_shards card_configs card_counts shard_size",
    ),
    "splits.csv in another order": (
        lambda f: (f / "splits.csv").write_text(_turned((f / "splits.csv").read_text())) and None,
        "splits_csv",
    ),
    "sizes.json is gone": (removed("sizes.json"), "sizes_json"),
    "sizes.json is one off": (edit_json("sizes.json", lambda v: v.update({"ds_00000.tar": 6})), "sizes_json"),
    "sizes.json lacks a tar": (edit_json("sizes.json", lambda v: v.pop("ds_00002.tar")), "shard_unlisted"),
    "sizes.json is not JSON": (edit_text("sizes.json", "{", ""), "sizes_json"),
    "manifest is gone": (removed("manifest.json"), "manifest_invalid"),
    "manifest lacks a field": (edit_json("manifest.json", lambda v: v.pop("encoder")), "manifest_invalid"),
    "manifest does not add up": (
        edit_json("manifest.json", lambda v: v["splits"]["train"].update(inputs=100)),
        "manifest_invalid",
    ),
    "manifest counts other frames": (
        edit_json("manifest.json", lambda v: (v["shards"][0].update(frames=1), _resum(v))),
        "manifest_counts",
    ),
    "manifest has another checksum": (
        edit_json("manifest.json", lambda v: v["shards"][1].update(sha256="0" * 64)),
        "manifest_sha256",
    ),
    "manifest has another size": (
        edit_json("manifest.json", lambda v: v["shards"][1].update(bytes=1)),
        "manifest_counts",
    ),
    "manifest has another split": (
        edit_json("manifest.json", lambda v: (v["shards"][2].update(split="test"), _resum(v))),
        "manifest_shards",
    ),
    "manifest has another dim": (
        edit_json("manifest.json", lambda v: v["encoder"].update(dim=512)),
        "manifest_encoder",
    ),
    "manifest has another dtype": (
        edit_json("manifest.json", lambda v: v["encoder"].update(dtype="float32")),
        "manifest_encoder",
    ),
    "manifest says normalized": (
        edit_json("manifest.json", lambda v: v["encoder"].update(normalized=True)),
        "manifest_encoder",
    ),
    "manifest names a host path": (
        edit_json("manifest.json", lambda v: v["encoder"].update(model="/home/me/clip")),
        "manifest_private",
    ),
    "manifest names a file URL": (
        edit_json("manifest.json", lambda v: v["versions"].update(model="file:///home/me/clip")),
        "manifest_private",
    ),
    "manifest has other keys": (edit_json("manifest.json", lambda v: v["meta_keys"].pop("note")), "json_keys"),
    "rejects are gone": (removed("rejects.jsonl"), "rejects"),
    "rejects for another reason": (edit_text("rejects.jsonl", '"missing"', '"timeout"'), "rejects"),
    "reject for a reason that is none": (edit_text("rejects.jsonl", '"missing"', '"bored"'), "rejects"),
    "a reject is in a tar": (rejected_twice, "rejects"),
    "a reject names a host path": (edit_text("rejects.jsonl", "below", "/home/me/videos"), "rejects"),
    "card is gone": (removed("README.md"), "card_missing"),
    "card without YAML": (edit_text("README.md", "---\n", ""), "card_yaml"),
    "card with two configs keys": (edit_text("README.md", "configs:", "license: mit\nconfigs:"), "card_yaml"),
    "card with a license that is none": (edit_text("README.md", "apache-2.0", "mitt"), "card_ids"),
    "card with language no": (edit_text("README.md", "- en", "- no"), "card_ids"),
    "card lacks a tar": (edit_text("README.md", "    - ds_00001.tar\n", ""), "card_configs"),
    "card says val": (edit_text("README.md", "split: validation", "split: val"), "card_configs"),
    "card lists another split's tar": (edit_text("README.md", "- ds_00002.tar", "- ds_00003.tar"), "card_configs"),
    "card pins another width": (edit_text("README.md", "- 16\n", "- 512\n"), "card_features"),
    "card pins another dtype": (edit_text("README.md", "dtype: float16", "dtype: float32"), "card_features"),
    "card pins no label": (edit_text("README.md", "    - name: label\n      dtype: string\n", ""), "card_features"),
    "card pins a type": (edit_text("README.md", "float64\n    - name: ta", "int64\n    - name: ta"), "card_features"),
    "card pins another item": (edit_text("README.md", "list: int64", "list: float64"), "card_features"),
    "card counts another number": (edit_text("README.md", "num_examples: 8", "num_examples: 9"), "card_counts"),
    "card has another size": (edit_text("README.md", "download_size: ", "download_size: 1"), "card_counts"),
    "card has another size category": (edit_text("README.md", "n<1K", "1K<n<10K"), "card_counts"),
    "card shows a figure that does not exist": (
        edit_text("README.md", "# CLIP", "![x](assets/x.png)\n# CLIP"),
        "card_link",
    ),
    "a preview that the card does not name": (preview(JPG, TXT), NO_CONFIG),
    "a sheet without its text": (preview(JPG), f"preview_sheet {NO_CONFIG}"),
    "a sheet that is not an image": (preview(("vid_00000.jpg", JPG[1][:-40]), TXT), f"preview_sheet {NO_CONFIG}"),
    "a sheet of no sample": (preview(("vid_00099.jpg", JPG[1]), ("vid_00099.txt", b"x")), f"preview_sheet {NO_CONFIG}"),
    "a sheet's text in Latin-1": (preview(JPG, ("vid_00000.txt", b"Fr\xfchling")), f"txt_utf8 {NO_CONFIG}"),
    "a stray file in the preview": (added("preview/notes.txt"), "stray_file"),
    "card points at a file outside": (
        linked_outside,
        "card_link",
    ),
    "card points out of the folder": (edit_text("README.md", "# CLIP", "[x](../work/x.json)\n# CLIP"), "card_link"),
}  # fmt: skip


def _turned(text: str) -> str:
    head, *lines = text.splitlines()
    return "\n".join([head, *reversed(lines)]) + "\n"


def _resum(manifest: dict[str, Any]) -> None:
    """Makes the sums per split agree with the shards again."""
    for split, counts in manifest["splits"].items():
        of_split = [shard for shard in manifest["shards"] if shard["split"] == split]
        counts["samples"] = sum(shard["samples"] for shard in of_split)
        counts["frames"] = sum(shard["frames"] for shard in of_split)
        counts["inputs"] = counts["samples"] + counts["missing"]


@pytest.mark.parametrize("name", IN_FOLDER)
def test_defect_of_the_folder(name: str, make_dataset: Any):
    folder = make_dataset()
    plant, expected = IN_FOLDER[name]
    plant(folder)
    found = codes(folder)
    assert found >= set(expected.split()[:1])
    assert found <= set(expected.split()) | {"shard_size"}


def test_a_small_shard_in_the_middle(make_dataset: Any):
    folder = make_dataset(per_shard=3)
    assert not verify(folder).findings
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["order"]["per_shard"] = 4
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sizes = [f for f in verify(folder).findings if f.code == "shard_size"]
    assert [f.where for f in sizes] == ["ds_00000.tar", "ds_00001.tar"]


def test_ids_of_two_widths(make_dataset: Any, dataset_spec: Any):
    """The last tar alone has six digits: every id is as wide as the number of samples asks for."""
    folder = make_dataset()
    tar = folder / "ds_00003.tar"
    tar.write_bytes(tar_bytes(renamed("vid_0", "vid_00")(members(tar))))
    reseal(folder, dataset_spec, 16)
    assert codes(folder) == {"id_width"}


def test_one_key_in_two_samples(make_dataset: Any, dataset_spec: Any):
    folder = make_dataset()
    tar = folder / "ds_00000.tar"
    parts = members(tar)
    key = json.loads(parts[2][1])["key"]
    tar.write_bytes(tar_bytes(on_meta(key=key)(parts)))
    reseal(folder, dataset_spec, 16)
    assert codes(folder) == {"key_twice"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"spans": [[0.0, 1.0], [1.5, 2.0]]}, "json_spans"),
        ({"spans": [[0.0, 0.0], [1.0, 2.0]]}, "json_spans"),
        ({"spans": [[0.0, 1.0]]}, "json_spans"),
        ({"spans": [[0.0, 1.0], [1.0]]}, "json_spans"),
        ({"spans": "0-1"}, "json_spans"),
        ({"padded_frames": -1}, "json_value"),
    ],
)
def test_spans_of_clips(change: dict[str, Any], code: str | None):
    """One span per row, which starts at the timestamp of the row and ends after it."""
    meta = {"key": "a", "videoID": "a", "start_time": None, "end_time": None, "duration": 2.0, "captions": ["a"]}
    meta |= {"label": None, "n_frames": 2, "timestamps": [0.0, 1.0], "source": "a.mp4", "truncated": False}
    meta |= {"spans": [[0.0, 1.0], [1.0, 2.0]], "padded_frames": 1, **change}
    group = [("npy", npy_bytes(np.ones((2, 4), np.float16))), ("txt", b"a"), ("json", json.dumps(meta).encode())]
    found = Findings("ds_00000.tar")
    schema = SampleSchema(4, "float16", tuple(meta), "first")
    check_sample("vid_00000", [(name, memoryview(data)) for name, data in group], schema, [], {}, found)
    assert {finding.code for finding in found} == ({code} if code else set())


def test_every_code_is_planted_somewhere():
    planted = {code for table in (IN_TAR, ARCHIVES, IN_FOLDER) for _, text in table.values() for code in text.split()}
    elsewhere = {"no_shards", "symlink", "card_placeholder", "json_spans", "generations"}
    assert set(REMEDIES) - planted == elsewhere, "tested below, in test_contents.py and in test_generations.py"
    assert len({*IN_TAR, *ARCHIVES, *IN_FOLDER}) >= 30


# --- sound datasets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_dataset_has_no_findings(make_dataset: Any, workers: int):
    result = verify(make_dataset(), run=RunOptions(workers=workers))
    assert result.findings == ()
    assert (result.tars, result.samples) == (4, 13)


def test_float32_and_one_split_are_sound(make_dataset: Any):
    assert verify(make_dataset(counts={"train": 4}, dtype="float32", dim=8)).findings == ()


def test_findings_are_the_same_with_processes(make_dataset: Any, dataset_spec: Any):
    folder = make_dataset()
    for tar in folder.glob("*.tar"):
        tar.write_bytes(tar_bytes(on_vectors(setting((0, 0), np.nan))(members(tar))))
    assert verify(folder, run=RunOptions(workers=2)) == verify(folder, run=RunOptions(workers=1))


def test_an_empty_folder(tmp_path: Path):
    found = {finding.code for finding in verify(tmp_path).findings}
    assert found == {"no_shards", "splits_csv", "sizes_json", "manifest_invalid"}


def test_no_folder_is_the_users_mistake(tmp_path: Path):
    with pytest.raises(UserError, match="is not a folder"):
        verify(tmp_path / "nothing")


def test_ten_thousand_equal_findings_are_a_few_lines():
    found = Findings("ds_00000.tar")
    for i in range(10_000):
        found.add("txt_empty", "is empty", f"vid_{i:05d}.txt")
    told = list(found)
    assert len(told) == 6
    assert told[-1].problem == "and 9,995 more like these"


def test_a_code_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'typo'"):
        Finding("x", "typo", "y")
    assert dataclasses.astuple(Finding("x", "txt_utf8", "y")) == ("x", "txt_utf8", "y")


# --- the command ------------------------------------------------------------------------------------------------------


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "builders", *arguments], cwd=root, capture_output=True, text=True, timeout=280
    )


def test_command_says_what_where_and_how_to_mend(root: Path, make_dataset: Any):
    folder = make_dataset()
    good = command(root, "verify", str(folder))
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "13 samples, 36 frames in 4 tars: OK")
    flipped(folder)
    bad = command(root, "verify", str(folder))
    assert bad.returncode == 1
    assert bad.stdout.startswith("manifest_sha256  manifest.json\n    ds_00000.tar is ")
    assert f"→ {REMEDIES['manifest_sha256']}" in bad.stdout
    assert bad.stdout.splitlines()[-1].endswith("1 problem found")
    none = command(root, "verify", str(folder / "nothing"))
    assert (none.returncode, none.stdout) == (2, "")
    assert none.stderr.startswith("error: ")
    assert none.stderr.count("\n") == 1
