"""Features for temporal models: the files, read with NumPy, json, csv and YAML, against the packed samples."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from builders.temporal.clips import clip_rows
from builders.temporal.records import timed_captions
from builders.temporal.write import LAYOUTS, rows_of, write_features
from preprocess.errors import DamagedFileError, UnknownNameError, UserError
from tests.builders.conftest import DIM, MakeDataset, rows, sample, vectors
from tests.builders.test_generations import build, current_ids
from tests.builders.test_parquet_rows import rows_of_tars

WINDOWS = [[0.0, 1.5], [1.5, 9.0]]
COUNTS = {"train": 8, "val": 3, "test": 2}
OWN = [{"caption_timestamps": WINDOWS if i % 2 == 0 else None} for i in range(8)]


@pytest.fixture
def timed(make_dataset: MakeDataset) -> Path:
    """Every other sample has two timed captions."""
    return make_dataset(own=OWN)


def everything() -> list[tuple[str, int]]:
    return [(split, i) for split, count in COUNTS.items() for i in range(count)]


# --- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "clip_s", "expected"),
    [
        (range(5), 2.0, [1, 3, 4]),
        ([0, 2, 4], 2.0, [0, 1, 2]),  # between two rows, the one in the clip
        ([0.0], 2.0, [0]),
        ([], 2.0, []),
        (np.arange(20) / 10, 1.0, [5, 15]),
        (np.arange(4) * 1.1, 1.1, [0, 1, 2, 3]),
        ([0.0, 0.1, 0.2, 0.3], 0.1, range(4)),  # 0.3 / 0.1 is below 3
    ],
)
def test_the_row_of_a_clip_is_that_of_its_middle(times: Any, clip_s: float, expected: Any) -> None:
    assert clip_rows(np.array(times, np.float64), clip_s).tolist() == list(expected)


def test_captions_are_cut_to_the_part_that_is_embedded() -> None:
    meta = {"captions": ["a", "b", "c"], "caption_timestamps": [[0, 12], [5, 8], [25, 40]], "timestamps": []}
    found = timed_captions(meta, 10.0, 20.0, "x")
    assert [(moment.caption, moment.windows) for moment in found] == [("a", ((0.0, 2.0),)), ("c", ((15.0, 20.0),))]
    with pytest.raises(DamagedFileError, match="times of captions cannot be read"):
        timed_captions({**meta, "caption_timestamps": [["x", 1]] * 3}, 0.0, 1.0, "x")


@pytest.mark.parametrize("sampling", [{"kind": "num_frames", "value": 8}, {"kind": "segment", "value": 8}, {}])
def test_rows_without_a_stride_are_refused(sampling: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no constant stride"):
        rows_of({"sampling": sampling, "encoder": {}})  # type: ignore[typeddict-item]


def test_the_stride_of_clips_is_theirs() -> None:
    manifest: Any = {"sampling": {"kind": "fps", "value": 4.0}, "encoder": {"clip_stride": 8, "clip_frames": 16}}
    found = rows_of(manifest)
    assert (found.seconds, found.stride, found.frames) == (2.0, 8, 16)


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "features", "queries"),
    [
        ("moment-detr", "clip_features", "subs_train/{}.jsonl"),
        ("lighthouse", "features/activitynet/clip", "data/activitynet/activitynet_{}_release.jsonl"),
    ],
)
def test_moment_retrieval(timed: Path, tmp_path: Path, layout: str, features: str, queries: str) -> None:
    out = tmp_path / "out"
    assert write_features(str(timed), layout, out).videos == 13
    assert {path.stem for path in (out / features).iterdir()} == {f"{split}_{i:03d}" for split, i in everything()}
    for split, i in everything():
        with np.load(out / features / f"{split}_{i:03d}.npz") as arrays:
            assert arrays.files == ["features"]
            own = vectors(split, i, DIM, "float16")  # type: ignore[arg-type]
            wanted = [min(1, len(own) - 1), *([min(3, len(own) - 1)] if len(own) > 2 else [])]
            np.testing.assert_array_equal(arrays["features"], own[wanted])
    seen = []
    for split, count in COUNTS.items():
        lines = [json.loads(line) for line in (out / queries.format(split)).read_text().splitlines()]
        seen += [line["qid"] for line in lines]
        assert len(lines) == sum(1 + (rows(split, i) > 1) for i in range(0, count, 2))  # type: ignore[arg-type]
        for line in lines:
            i = int(line["vid"].rpartition("_")[2])
            number = sample(split, i).captions.index(line["query"])  # type: ignore[arg-type]
            duration = float(rows(split, i))  # type: ignore[arg-type]
            start, end = WINDOWS[number]
            assert line["relevant_windows"] == [[start, min(end, duration)]]
            assert line["duration"] == duration
    assert sorted(seen) == list(range(len(seen)))


def test_clips_of_another_length(timed: Path, tmp_path: Path) -> None:
    write_features(str(timed), "lighthouse", tmp_path / "out", 1.0)
    with np.load(tmp_path / "out/features/activitynet/clip/train_003.npz") as arrays:
        np.testing.assert_array_equal(arrays["features"], vectors("train", 3, DIM, "float16"))
    with pytest.raises(UserError, match=r"rows are 1 s apart, more than the clips of 0\.5 s.*--clip-length 1"):
        write_features(str(timed), "lighthouse", tmp_path / "sparse", 0.5)
    assert not (tmp_path / "sparse").exists()


def test_actionformer(timed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_features(str(timed), "actionformer", out)
    database = json.loads((out / "annotations.json").read_text())["database"]
    assert len(database) == 13
    for split, i in everything():
        own = vectors(split, i, DIM, "float16")  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.load(out / f"features/{split}_{i:03d}.npy"), own)
        entry = database[f"{split}_{i:03d}"]
        assert entry["subset"] == {"train": "training", "val": "validation", "test": "test"}[split]
        assert (entry["fps"], entry["duration"]) == (1.0, float(len(own)))
        windows = [[start, min(end, len(own))] for start, end in WINDOWS if start < len(own)] if i % 2 == 0 else []
        assert [one["segment"] for one in entry["annotations"]] == windows
    labels = {(one["label"], one["label_id"]) for entry in database.values() for one in entry["annotations"]}
    assert labels == {("moment", 0)}  # the samples with timed captions have no label
    config = yaml.safe_load((out / "dataset.yaml").read_text())
    assert (config["train_split"], config["val_split"]) == (["training"], ["validation"])
    stated = {name: config["dataset"][name] for name in ("feat_stride", "num_frames", "default_fps", "input_dim")}
    assert stated == {"feat_stride": 1, "num_frames": 1, "default_fps": 1.0, "input_dim": DIM}
    with pytest.raises(UserError, match="not used by actionformer"):
        write_features(str(timed), "actionformer", out, 2.0)


def test_vadclip(timed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = write_features(str(timed), "vadclip", out)
    for split, i in everything():
        array = np.load(out / f"features/{split}_{i:03d}__0.npy")
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, vectors(split, i, DIM, "float16").astype(np.float32))  # type: ignore[arg-type]
    listed = []
    for split in COUNTS:
        with (out / f"{split}.csv").open(newline="") as file:
            listed += list(csv.DictReader(file))
    odd = [f"features/{split}_{i:03d}__0.npy" for split, i in everything() if i % 2]
    assert sorted(listed, key=lambda row: row["path"]) == [{"path": p, "label": "red circle"} for p in sorted(odd)]
    assert done.source["not_listed_without_label"] == 13 - len(odd)
    assert (done.source["frames_per_row"], done.source["frames_per_row_of_project"]) == (None, 16)


def test_without_a_label_vadclip_has_nothing_to_train_on(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset(counts={"train": 1, "val": 1, "test": 1})
    with pytest.raises(UserError, match="no video has a label"):
        write_features(str(folder), "vadclip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_sixteenth_frame_is_what_vadclip_counts(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sampling": {"kind": "every_nth", "value": 16}}))
    assert write_features(str(folder), "vadclip", tmp_path / "out").source["frames_per_row"] == 16


# --- all of them ------------------------------------------------------------------------------------------------------


def test_ids_of_the_source_name_the_files(make_dataset: MakeDataset, tmp_path: Path) -> None:
    own = [{"videoID": name} for name in ("v_-a.b", "../../x", "same", "same", "", ".hidden", "a/b", "train_000")]
    folder = make_dataset(counts={"train": 8, "val": 0, "test": 0}, own=own)
    write_features(str(folder), "actionformer", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/features").iterdir())
    assert names == sorted(["v_-a.b.npy", *(f"train_00{i}.npy" for i in range(1, 8))])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_dataset_gives_the_same_bytes(timed: Path, tmp_path: Path, layout: str) -> None:
    contents = []
    for name in ("one", "two", "one"):
        write_features(str(timed), layout, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert contents[0] == contents[1] == contents[2]
    source = json.loads(contents[0]["source.json"])
    assert (source["format"], source["encoder"]["model"], source["seconds_per_row"]) == (layout, "tiny-clip", 1.0)


def test_replaced_rows_are_left_out(tmp_path: Path) -> None:
    folder = build(tmp_path)
    write_features(str(folder), "actionformer", tmp_path / "out")
    wanted: dict[str, list[bytes]] = {}
    for key, _, _, _, _, row in sorted(rows_of_tars(folder, set(current_ids(folder))), key=lambda r: (r[0], r[2])):
        wanted.setdefault(key, []).append(row)
    found = [[row.tobytes() for row in np.load(path)] for path in (tmp_path / "out/features").iterdir()]
    assert sorted(found) == sorted(wanted.values())


def test_an_unknown_layout(timed: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'moment-detr'"):
        write_features(str(timed), "moment-dter", tmp_path / "out")
