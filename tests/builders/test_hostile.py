"""Files that are made to harm: `verify` reports each as a finding, the readers as one error; nothing else is raised."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders.embeddings import infer_features, read_tables
from builders.torch_reader import EmbeddingReader
from builders.verify import verify
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.splits import read_sizes, read_splits
from preprocess.formats.tar import end_of_archive, iter_members, member
from preprocess.formats.triples import npy_array
from tests.fuzz.hostile import DEEP, HOSTILE_FILES, JSON, NPY

MISFITS = {"float64", "no dimension"}  # arrays, but not those of an embedding


def replaced(folder: Path, extension: str, data: bytes, which: int = 1) -> Path:
    """Puts `data` in the place of one member of the first tar, with a manifest that agrees."""
    tar = folder / "ds_00000.tar"
    parts = [(m.name, bytes(m.data)) for m in iter_members(tar)]
    index = [i for i, (name, _) in enumerate(parts) if name.endswith(extension)][which]
    parts[index] = (parts[index][0], data)
    rewrite(folder, b"".join(member(*part) for part in parts))
    return tar


def rewrite(folder: Path, body: bytes) -> None:
    data = body + end_of_archive(len(body))
    (folder / "ds_00000.tar").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["shards"][0].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / "manifest.json").write_text(json.dumps(manifest))


def codes(folder: Path) -> set[str]:
    found = verify(folder).findings
    for finding in found:
        str(finding).encode()  # can be printed
    return {finding.code for finding in found}


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", NPY)
def test_an_array_is_a_finding_and_one_error(name: str, which: int, make_dataset: Any) -> None:
    folder = make_dataset()
    tar = replaced(folder, ".npy", NPY[name], which)
    assert codes(folder) & {"npy_unreadable", "npy_layout", "npy_dtype", "npy_shape", "npy_empty"}
    with pytest.raises(DamagedFileError, match=rf"vid_0000{which}\.npy"):
        list(EmbeddingReader(folder, "train"))
    if which:
        with pytest.raises(DamagedFileError, match=r"vid_00001\.npy"):
            list(read_tables(str(tar), infer_features(str(tar))))
    else:
        with pytest.raises(DamagedFileError, match=r"vid_00000\.npy"):
            infer_features(str(tar))
    if name not in MISFITS:
        with pytest.raises(DamagedFileError):
            npy_array(NPY[name])


@pytest.mark.parametrize("name", JSON)
def test_metadata_is_a_finding_and_one_error(name: str, make_dataset: Any) -> None:
    folder = make_dataset()
    replaced(folder, ".json", JSON[name])
    assert "json_unreadable" in codes(folder)
    with pytest.raises(DamagedFileError, match=r"ds_00000\.tar: vid_00001\.json"):
        list(EmbeddingReader(folder, "train"))


def test_the_first_sample_may_be_the_damaged_one(make_dataset: Any) -> None:
    folder = make_dataset()
    (folder / "manifest.json").unlink()  # then the first sample says what all should be
    parts = [(m.name, bytes(m.data)) for m in iter_members(folder / "ds_00000.tar")]
    body = b"".join(member(name, DEEP if name.endswith("0.json") else data) for name, data in parts)
    (folder / "ds_00000.tar").write_bytes(body + end_of_archive(len(body)))
    assert "json_unreadable" in codes(folder)


VALUES: dict[str, dict[str, Any]] = {
    "a key that is a list": {"key": [[]]},
    "a caption number that is a list": {"caption_index": [1]},
    "captions that are numbers": {"captions": [1, 2]},
    "timestamps nested": {"timestamps": [[[0.0]]]},
    "timestamps beyond all floats": {"timestamps": [0.0, 10**400]},
    "frames beyond all counts": {"n_frames": 10**400},
    "times of two types": {"start_time": "0", "end_time": [1]},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_of_another_type_is_a_finding(name: str, make_dataset: Any) -> None:
    folder = make_dataset()
    tar = folder / "ds_00000.tar"
    meta = json.loads([bytes(m.data) for m in iter_members(tar) if m.name.endswith(".json")][1])
    replaced(folder, ".json", json.dumps({**meta, **VALUES[name]}).encode())
    assert codes(folder) & {"json_value", "json_timestamps", "json_frames", "json_keys"}


def write(file: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(data) and None


def as_folder(file: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).mkdir()

    return plant


def as_pipe(file: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return plant


def as_loop(file: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).symlink_to(file)

    return plant


FILES = {
    "splits.csv": "splits_csv",
    "sizes.json": "sizes_json",
    "manifest.json": "manifest_invalid",
    "rejects.jsonl": "rejects",
    "README.md": "card_",
}
WAYS: dict[str, Callable[[str], Callable[[Path], None]]] = {
    "folder": as_folder,
    "pipe": as_pipe,
    "link to itself": as_loop,
    **{kind: lambda file, data=data: write(file, data) for kind, data in HOSTILE_FILES.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_the_folder_is_a_finding(file: str, way: str, make_dataset: Any) -> None:
    folder = make_dataset()
    WAYS[way](file)(folder)
    assert any(code.startswith(FILES[file]) for code in codes(folder))


READERS = {"splits.csv": read_splits, "sizes.json": read_sizes, "manifest.json": manifests.read}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", READERS)
def test_a_file_of_the_folder_is_one_error(file: str, way: str, make_dataset: Any) -> None:
    folder = make_dataset()
    WAYS[way](file)(folder)
    with pytest.raises(UserError, match=file):
        READERS[file](folder / file)


@pytest.mark.parametrize("line", [b'{"key": [1], "split": [2], "reason": {}, "stage": 1, "message": 0}', b"null", b"0"])
def test_a_reject_of_other_types_is_a_finding(line: bytes, make_dataset: Any) -> None:
    folder = make_dataset()
    (folder / "rejects.jsonl").write_bytes(line + b"\n")
    assert codes(folder) == {"rejects"}


def test_ids_beyond_all_integers_are_findings(make_dataset: Any) -> None:
    folder = make_dataset()
    digits = "9" * 60
    rewrite(folder, b"".join(member(f"vid_{digits}.{extension}", b"x") for extension in ("npy", "txt", "json")))
    assert "member_name" in codes(folder)


def test_names_that_are_not_text_are_findings_that_can_be_printed(make_dataset: Any) -> None:
    folder = make_dataset()
    header = bytearray(member("vid_00000.npy", b""))
    header[4:9] = b"\xff\x1b[2J"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    rewrite(folder, bytes(header))
    assert codes(folder) & {"member_name", "tar_damaged"}
    (folder / os.fsdecode(b"\xff\x1b[2J.txt")).touch()
    found = [finding for finding in verify(folder).findings if finding.code == "stray_file"]
    assert [str(finding).count("\x1b") for finding in found] == [0]
    str(found[0]).encode()
