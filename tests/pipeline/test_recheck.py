"""Samples encoded again: an honest build passes, vectors of another video do not, however well all else agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builders.verify import verify
from dataset_cards.card import write_card
from dataset_cards.card_inputs import read_card_inputs
from preprocess.errors import SettingsError, UserError
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import read
from preprocess.pipeline import recheck as rechecking
from preprocess.pipeline.index import read_source, resolve_source
from preprocess.pipeline.pack import pack_dataset
from preprocess.pipeline.packed_samples import choose
from preprocess.pipeline.recheck import REMEDIES, Mismatch, resolve_model, row_problem
from preprocess.recipes import load
from preprocess.runtime.options import RunOptions
from tests.media_files import moving_noise, write_video

LENGTHS = {"a": 30, "b": 21, "c": 30, "d": 12}  # frames, ten a second
PART = "part_00000500_00001500"
SAMPLES = 7


@pytest.fixture(scope="module")
def storage() -> str:
    """Verify, card and the planted changes work on local files."""
    return "local"


def command(root: Path, *arguments: object, module: str = "preprocess") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=root, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of videos, of a part of one, of a picture."""
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(LENGTHS.items()):
        write_video(folder / f"{name}.mp4", n_frames, seed=seed)
    Image.fromarray(moving_noise(1)[0]).save(folder / "photo.png")
    two = {"captions": ["drifting noise", "noise that drifts"]}
    rows = [{"videoID": name, "videoLoc": f"{name}.mp4", "split": "train", **two} for name in LENGTHS]
    rows.append({"videoID": "p", "videoLoc": "photo.png", "split": "val", **two})
    rows.append({"videoID": "part", "videoLoc": "b.mp4", "split": "test", "start_time": 0.5, "end_time": 1.5, **two})
    rows.append({"videoID": "late", "videoLoc": "c.mp4", "split": "test", "start_time": 2.0, **two})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "list.jsonl"


def build(root: Path, raw: Path, model: Path, out: Path, precision: str) -> Path:
    options = ("--model", model, "--precision", precision, "--workers", 2)
    done = command(root, "build", "table", "--raw", raw, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    pack(out)
    return out


def pack(out: Path, **options: Any) -> Path:
    """Shards, tables, manifest and card of the triples that are there."""
    layout, spec = Layout(out, "CLIP-Table"), load("table").SPEC
    pack_dataset(layout, spec, **options)
    write_card(read_card_inputs(spec, layout))
    return layout.dataset


def recheck(out: Path, raw: Path | None = None, **options: Any) -> tuple[int, list[Mismatch]]:
    """What `python -m preprocess recheck` does, in this process."""
    recipe, layout = load("table"), Layout(out, "CLIP-Table")
    source = resolve_source(recipe, layout, raw and str(raw), moved=True)
    manifest = read(layout.dataset / "manifest.json")
    run = RunOptions(workers=2)
    return rechecking.recheck(manifest, read_source(recipe, source), str(source.folder), layout, run, **options)


def recheck_command(root: Path, out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return command(root, "recheck", "table", "--out", out, "--workers", 2, *arguments)


@pytest.fixture(scope="module")
def built(raw: Path, small_clip: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(root, raw, small_clip, tmp_path_factory.mktemp("data"), "fp32")


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    """A copy, to plant something in."""
    return Path(shutil.copytree(built, tmp_path / "data"))


def test_an_honest_build_passes(built: Path, raw: Path, root: Path) -> None:
    done = recheck_command(root, built, "-n", 50, "--raw", raw)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{SAMPLES} samples encoded again, 0 differ\n"
    assert not done.stderr


def test_so_does_a_fast_one_by_its_own_measure(raw: Path, small_clip: Path, root: Path, tmp_path: Path) -> None:
    out = build(root, raw, small_clip, tmp_path, "bf16")
    assert recheck(out) == (SAMPLES, [])
    manifest = tmp_path / "CLIP-Table" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"precision": "bf16"', '"precision": "fp32"'))
    assert {one.code for one in recheck(out)[1]} == {"sample_vectors"}, "they are not what the exact mode gives"


# --- vectors of another video, with tables, manifest and card that agree with them ------------------------------------

Plant = Callable[[Path], None]


def swapped(folder: Path) -> None:
    """Written anew: renamed files keep their times, and two of one clock tick would be one another's stamp."""
    a, c = folder / "a.npy", folder / "c.npy"
    old_a, old_c = a.read_bytes(), c.read_bytes()
    a.write_bytes(old_c)
    c.write_bytes(old_a)


def on_rows(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    def plant(folder: Path) -> None:
        np.save(folder / "b.npy", change(np.load(folder / "b.npy")).astype(np.float16))

    return plant


def perturbed(rows: np.ndarray) -> np.ndarray:
    rows[1] += 0.2 * np.linalg.norm(rows[1]) * np.eye(len(rows[1]))[0]
    return rows


def shortened(folder: Path) -> None:
    np.save(folder / "b.npy", np.load(folder / "b.npy")[:2])
    meta = json.loads((folder / "b.json").read_bytes())
    (folder / "b.json").write_text(json.dumps({**meta, "n_frames": 2, "timestamps": meta["timestamps"][:2]}))


PLANTED: dict[str, tuple[Plant, str, str, set[str]]] = {
    "the vectors of two samples swapped": (swapped, "sample_vectors", "has cosine ", {"a", "c"}),
    "one row perturbed": (on_rows(perturbed), "sample_vectors", "row 1 of 3 has cosine 0.9", {"b"}),
    "rows in another order": (on_rows(lambda rows: rows[::-1]), "sample_vectors", "(2 rows are below it)", {"b"}),
    "rows normalized": (
        on_rows(lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)),
        "sample_vectors",
        "has length ",
        {"b"},
    ),
    "a row too few": (shortened, "sample_rows", "is (2, 16), the raw file gives (3, 16)", {"b"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted(name: str, out: Path) -> None:
    plant, code, problem, keys = PLANTED[name]
    plant(Layout(out, "CLIP-Table").processed / "train")
    folder = pack(out)
    assert not verify(folder).findings, "all else agrees"
    compared, differences = recheck(out)
    ids = {one.meta["key"]: one.id for one in choose(folder, ["ds_00000.tar"], 50, 0)}
    assert compared == SAMPLES
    assert {one.where for one in differences} == {f"ds_00000.tar: {ids[key]}.npy" for key in keys}
    for one in differences:
        assert one.code == code
        assert problem in one.problem
        if name == "rows normalized":  # and rounded to float16
            assert float(one.problem.split("has length ")[1].split(",")[0]) == pytest.approx(1, abs=1e-3)


def test_the_command_tells_what_was_found(out: Path, root: Path) -> None:
    swapped(Layout(out, "CLIP-Table").processed / "train")
    pack(out)
    done = recheck_command(root, out, "-n", 50)  # of the raw data of the build
    assert done.returncode == 1, done.stderr
    told = done.stdout.splitlines()
    assert told[0].startswith("sample_vectors  ds_00000.tar: vid_")
    assert "row 0 of 3 has cosine " in told[1] or "row 1 of 3" in told[1] or "row 2 of 3" in told[1]
    assert told[2] == f"    → {REMEDIES['sample_vectors']}"
    assert told[-1] == f"{SAMPLES} samples encoded again, 2 differ"


def test_make_verify_runs_both_checks_and_fails_if_either_does(out: Path, raw: Path, root: Path) -> None:
    """With the interpreter of this test for `.venv`, and nothing to set up."""
    options = (
        f"PY={sys.executable}",
        "DATASET=table",
        f"OUT={out}",
        f"RAW={raw}",
        "SAMPLE=50",
        "ARGS=",
        "--old-file=setup",
    )

    def make() -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", "verify", *options]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)

    good = make()
    assert good.returncode == 0, good.stdout + good.stderr
    assert good.stdout.splitlines()[-2:] == [
        f"{SAMPLES} samples, 14 frames in 3 tars: OK",
        f"{SAMPLES} samples encoded again, 0 differ",
    ]
    (out / "CLIP-Table" / "notes.txt").write_text("")
    stray = make()
    assert stray.returncode != 0
    assert stray.stdout.splitlines()[-1] == f"{SAMPLES} samples encoded again, 0 differ"
    (out / "CLIP-Table" / "notes.txt").unlink()
    swapped(Layout(out, "CLIP-Table").processed / "train")
    pack(out)
    differs = make()
    assert differs.returncode != 0
    assert "3 tars: OK" in differs.stdout
    assert differs.stdout.splitlines()[-1] == f"{SAMPLES} samples encoded again, 2 differ"


def test_raw_data_that_is_gone_or_another(out: Path, raw: Path, tmp_path: Path, root: Path) -> None:
    elsewhere = Path(shutil.copytree(raw.parent, tmp_path / "elsewhere"))
    (elsewhere / "a.mp4").unlink()
    write_video(elsewhere / "d.mp4", 12, seed=99)
    table = elsewhere / "list.jsonl"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if '"p"' not in line))
    compared, differences = recheck(out, table)
    told = {one.problem.split("'")[1]: one for one in differences}
    assert (compared, told.keys()) == (SAMPLES, {"a", "d", "p"})
    assert (told["a"].code, told["a"].problem) == ("raw_missing", "'a': missing, a.mp4 does not exist")
    assert told["d"].code == "sample_vectors"
    assert (told["p"].code, told["p"].problem) == ("raw_missing", "'p': the raw data has no such sample")
    done = recheck_command(root, out, "-n", 50, "--raw", table)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{SAMPLES - 2} samples encoded again, 1 differ; without a raw file: 2"


def test_samples_without_raw_files_are_no_difference(out: Path, raw: Path, tmp_path: Path, root: Path) -> None:
    elsewhere = Path(shutil.copytree(raw.parent, tmp_path / "elsewhere"))
    (elsewhere / "a.mp4").unlink()
    done = recheck_command(root, out, "-n", 50, "--raw", elsewhere / "list.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("raw_missing  ds_00000.tar: vid_")
    assert done.stdout.splitlines()[-1] == f"{SAMPLES - 1} samples encoded again, 0 differ; without a raw file: 1"
    for path in [*elsewhere.glob("*.mp4"), *elsewhere.glob("*.png")]:
        path.unlink()
    with pytest.raises(UserError, match=f"none of the {SAMPLES} samples has a raw file"):
        recheck(out, elsewhere / "list.jsonl")


# --- which samples ----------------------------------------------------------------------------------------------------


def test_the_choice_goes_by_seed_and_key(built: Path) -> None:
    folder, tars = built / "CLIP-Table", ["ds_00000.tar", "ds_00001.tar", "ds_00002.tar"]

    def keys(n: int, seed: int) -> list[str]:
        return [one.meta["key"] for one in choose(folder, tars, n, seed)]

    every = keys(50, 0)
    assert len(set(every)) == SAMPLES
    assert {*LENGTHS, "p", PART} < set(every)
    assert [one.id for one in choose(folder, tars, 50, 0)] == [f"vid_{i:05d}" for i in range(SAMPLES)]
    assert keys(3, 7) == keys(3, 7)
    assert len({tuple(keys(3, seed)) for seed in range(9)}) > 3
    assert set(keys(2, 7)) < set(keys(3, 7))
    with pytest.raises(UserError, match=r"ds_00009\.tar does not exist"):
        choose(folder, ["ds_00009.tar"], 1, 0)


def test_every_caption_of_a_sample_is_compared(out: Path) -> None:
    swapped(Layout(out, "CLIP-Table").processed / "train")
    folder = pack(out, caption_mode="each")
    compared, differences = recheck(out)
    assert (compared, len(differences)) == (2 * SAMPLES, 4)
    tars = ["ds_00000.tar", "ds_00001.tar", "ds_00002.tar"]
    assert len(choose(folder, tars, 50, 0, one_per_sample=True)) == SAMPLES


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_folder_that_was_not_built_here(built: Path, raw: Path, root: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "CLIP-Table", tmp_path / "CLIP-Table")
    no_raw = recheck_command(root, tmp_path, "-n", 2)
    assert no_raw.returncode == 2
    assert "error: dataset 'table' needs raw data" in no_raw.stderr
    no_model = recheck_command(root, tmp_path, "-n", 2, "--raw", raw)
    assert no_model.returncode == 2
    assert "'small-clip'" in no_model.stderr.splitlines()[0]


def test_another_model_than_the_manifest_names(built: Path, small_clip: Path, tmp_path: Path) -> None:
    layout = Layout(built, "CLIP-Table")
    manifest = read(layout.dataset / "manifest.json")
    other = Path(shutil.copytree(small_clip, tmp_path / "other"))
    assert resolve_model(manifest, layout, str(other)).folder == other
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(SettingsError, match="weights_sha256"):
        resolve_model(manifest, layout, str(other))
    config = json.loads((small_clip / "preprocessor_config.json").read_bytes())
    (small_copy := Path(shutil.copytree(small_clip, tmp_path / "copy"))).joinpath(
        "preprocessor_config.json"
    ).write_text(json.dumps({**config, "image_mean": [0.1, 0.1, 0.1]}))
    with pytest.raises(SettingsError, match="preprocessing"):
        resolve_model(manifest, layout, str(small_copy))


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def test_row_problem() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 8))
    assert row_problem(rows, rows, 0.99999) is None
    assert row_problem(rows.astype(np.float16).astype(np.float64), rows, 0.99999) is None
    assert row_problem(rows[:0], rows[:0], 0.99999) is None
    tilted = rows.copy()
    tilted[3] += 0.02 * np.linalg.norm(rows[3]) * np.roll(rows[3], 1) / np.linalg.norm(rows[3])
    assert row_problem(tilted, rows, 0.99) is None
    assert str(row_problem(tilted, rows, 0.99999)).startswith("row 3 of 5 has cosine 0.99")
    for value in (0.0, np.nan, np.inf):
        spoiled = rows.copy()
        spoiled[2] = value
        assert str(row_problem(spoiled, rows, 0.99)).startswith("row 2 of 5 has cosine ")
    assert row_problem(rows * 1.01, rows, 0.99999) is None
    assert str(row_problem(rows * 1.05, rows, 0.99999)).startswith("row 0 of 5 has length ")
