"""The command line as the user sees it: what it prints, where it stops, what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.options import open_dataset
from tests.media_files import write_video

Run = subprocess.CompletedProcess[str]


def command(root: Path, *arguments: object, module: str = "preprocess") -> Run:
    """Runs `python -m <module> …` from the repository's root."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=root, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i, split in enumerate(("train", "train", "val", "test")):
        write_video(folder / split / f"clip {i}.mp4", 15, seed=i)
    return folder


@pytest.fixture(scope="module")
def built(raw: Path, small_clip: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make build DATASET=folder` leaves, by the commands that it runs."""
    out = tmp_path_factory.mktemp("data")
    done = command(root, "build", "folder", "--raw", raw, "--model", small_clip, "--out", out, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "4 triples written, 0 kept, 0 rejected, 8 rows" in done.stdout
    assert not done.stderr, "no bars and no warnings where nobody looks"
    card = command(root, "card", "folder", "--out", out, module="dataset_cards")
    assert card.returncode == 0, card.stderr
    return out


def test_the_build_verifies_and_ends_with_a_table_and_python(built: Path, root: Path) -> None:
    dataset = built / "CLIP-Folder"
    verified = command(root, "verify", dataset, module="builders")
    assert verified.returncode == 0, verified.stdout
    report = command(root, "report", "folder", "--out", built)
    rows = [line.split() for line in report.stdout.splitlines()]
    assert ["split", "inputs", "written", "missing", "rejected", "frames", "shards", "size"] in rows
    assert ["total", "4", "4", "0", "0", "8", "3"] in [row[:7] for row in rows]
    code = "\n".join(report.stdout.splitlines()[-2:]) + "\nprint({s: dataset[s].num_rows for s in dataset})"
    environment = {**os.environ, "HF_HOME": str(built / "hf")}
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=280)
    assert loaded.stdout.splitlines()[-1:] == ["{'train': 2, 'validation': 1, 'test': 1}"], loaded.stderr


def test_a_second_build_writes_nothing(built: Path, root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (built / "CLIP-Folder").iterdir()}
    done = command(root, "build", "folder", "--out", built)  # raw data, model and settings as they were
    assert done.returncode == 0, done.stderr
    assert "0 triples written, 4 kept" in done.stdout
    assert "(0 new)" in done.stdout
    command(root, "card", "folder", "--out", built, module="dataset_cards")
    assert {path: path.stat().st_mtime_ns for path in (built / "CLIP-Folder").iterdir()} == before


def test_the_counts_of_ledger_manifest_and_shards_agree(
    raw: Path, small_clip: Path, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "videos.csv").write_text(
        "videoID,videoLoc,caption,split\n"
        + "".join(f"v{i},{path},a clip,train\n" for i, path in enumerate(sorted(raw.rglob("*.mp4"))))
        + f"gone,{tmp_path / 'gone.mp4'},a clip,train\nbad,{tmp_path / 'bad.mp4'},a clip,val\n"
    )
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    arguments = ("table", "--raw", tmp_path / "videos.csv", "--model", small_clip, "--out", tmp_path / "out")
    failed = command(root, "build", *arguments, "--max-reject-rate", 0.1, "--caption-mode", "join", "--per-shard", 3)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: 1 of 6 samples could not be decoded, more than --max-reject-rate 0.1.")
    assert 'ARGS="--max-reject-rate 0.17"' in failed.stderr
    dataset = tmp_path / "out" / "CLIP-Table"
    again = command(root, "retry", "table", "--out", tmp_path / "out")
    assert again.returncode == 1, "retry keeps the rate"
    assert not dataset.exists()
    done = command(root, "retry", "table", "--out", tmp_path / "out", "--max-reject-rate", 0.2)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((dataset / "manifest.json").read_bytes())
    assert (manifest["caption_mode"], manifest["order"]["per_shard"]) == ("join", 3)
    done = command(root, "build", *arguments, "--per-shard", 10)
    assert done.returncode == 0, done.stderr
    splits = json.loads((dataset / "manifest.json").read_bytes())["splits"]
    assert (splits["train"]["inputs"], splits["train"]["samples"], splits["train"]["missing"]) == (5, 4, 1)
    assert splits["val"]["rejected"] == {"unreadable": 1}
    ledger = [json.loads(line) for line in (dataset / "rejects.jsonl").read_text().splitlines()]
    assert {reject["key"]: reject["reason"] for reject in ledger} == {"bad": "unreadable", "gone": "missing"}
    assert json.loads((dataset / "sizes.json").read_bytes()) == {"ds_00000.tar": 4}


MISTAKES = {
    "no raw data": (("encode", "folder"), "needs raw data"),
    "raw data that does not exist": (("encode", "folder", "--raw", "/no/such/folder"), "'/no/such/folder'"),
    "an unknown dataset": (("encode", "foldr", "--raw", "x"), "Did you mean 'folder'?"),
    "an unknown model": (("encode", "folder", "--raw", "{raw}", "--model", "tiny-clop"), "'tiny-clop'"),
    "a model folder without weights": (("encode", "folder", "--raw", "{raw}", "--model", "{raw}"), "not complete"),
    "shares that do not sum to 1": (("encode", "folder", "--raw", "{raw}", "--split", "1,1,1"), "--split 0.8,0.1,0.1"),
    "no frames a second": (("encode", "folder", "--raw", "{raw}", "--fps", "0"), "fps"),
    "an unknown sampling": (("encode", "folder", "--raw", "{raw}", "--sampling", "often=3"), "num_frames"),
    "an unknown dtype": (("encode", "folder", "--raw", "{raw}", "--dtype", "float61"), "Did you mean 'float16'?"),
    "nothing to pack": (("shards", "folder"), "Run encode first"),
    "nothing to report": (("report", "folder"), "manifest.json"),
    "a bad name for a dataset": (("new", "Not-A-Name"), "'Not-A-Name'"),
    "a name that leaves the output": (("encode", "folder", "--raw", "{raw}", "--name", "../x"), "'../x'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake: str, raw: Path, root: Path, tmp_path: Path) -> None:
    arguments, expected = MISTAKES[mistake]
    where = () if arguments[0] == "new" else ("--out", str(tmp_path / "out"))
    done = command(root, *(str(a).replace("{raw}", str(raw)) for a in arguments), *where)
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_missing_raw_data_shows_the_tree_and_the_sources(root: Path) -> None:
    done = command(root, "encode", "msrvtt")
    assert "MSRVTT_data.json" in done.stderr
    assert "https://" in done.stderr


def test_debug_shows_the_traceback(root: Path) -> None:
    assert "Traceback" in command(root, "encode", "foldr", "--debug").stderr
    assert "Traceback" in command(root, "--debug", "encode", "foldr").stderr


def test_every_command_lists_debug_under_its_options() -> None:
    from ved.commands import app

    groups = [("ved", typer.main.get_command(app))]
    seen = []
    for path, group in groups:  # grows with every group that is found
        with group.make_context(path, [], resilient_parsing=True) as context:
            for name in group.list_commands(context):
                found = group.get_command(context, name)
                help_ = found.get_help(found.make_context(f"{path} {name}", [], resilient_parsing=True))
                assert "\n  --debug  " in help_.partition("Options:")[2], help_
                seen.append(f"{path} {name}")
                if hasattr(found, "list_commands"):
                    groups.append((f"{path} {name}", found))
    assert {"ved build", "ved frames", "ved card", "ved verify", "ved long-video text"} <= set(seen)


def test_the_list_of_datasets_has_a_header_and_the_training_set(root: Path) -> None:
    rows = [line.split() for line in command(root, "list").stdout.splitlines()]
    assert rows[0] == ["dataset", "title", "license", "homepage"]
    assert [row[0] for row in rows[1:]] == sorted({row[0] for row in rows[1:]} | {"demo", "long-demo", "msrvtt"})


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can only be mounted by root")
@pytest.mark.skipif(not shutil.which("mount"), reason="the mount program is not installed")
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    raw: Path, small_clip: Path, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", out], capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    arguments = ("build", "folder", "--raw", raw, "--model", small_clip, "--out", out)
    try:
        (out / "ballast").write_bytes(bytes(44 << 10))
        full = command(root, *arguments)
        assert full.returncode == 2
        assert "the disk is full" in full.stderr
        assert len(full.stderr.splitlines()) == 1
        assert not list(out.rglob("*.tmp"))
        (out / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", out], check=True)
        done = command(root, *arguments)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", out], check=True)


def test_an_output_is_named_after_the_family_of_its_model(small_clip: Path, tmp_path: Path) -> None:
    def name(**given: str | None) -> str:
        return open_dataset("demo", tmp_path, given.get("name"), given.get("model"))[1].hub_name

    def note(hub_name: str, dataset: str = "demo") -> None:
        layout = Layout(tmp_path, hub_name)
        layout.work.mkdir(parents=True)
        layout.source.write_text(json.dumps({"dataset": dataset}))

    assert name() == "CLIP-Shapes"
    assert name(model="google/siglip2-base-patch16-224") == "SigLIP2-Shapes"
    assert name(model=str(small_clip)) == "CLIP-Shapes"
    assert name(name="Mine", model="tiny-clip") == "Mine"
    note("CLIP-MSRVTT", "msrvtt")
    assert name() == "CLIP-Shapes"
    note("DINOv2-Shapes")
    assert name() == "DINOv2-Shapes"
    note("Mine")
    with pytest.raises(UserError, match="demo has several outputs: DINOv2-Shapes, Mine") as caught:
        name()
    assert "NAME=DINOv2-Shapes" in str(caught.value)
    assert name(model="tiny-clip") == "CLIP-Shapes"


def test_listing_the_datasets_imports_nothing_heavy(root: Path) -> None:
    code = (
        "import sys; sys.argv = ['x', 'list']; from preprocess.__main__ import app; app(standalone_mode=False);"
        "print(sorted({'torch', 'transformers', 'datasets', 'av', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=280)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.stdout.splitlines()[0].split() == ["dataset", "title", "license", "homepage"]
    assert "MSRVTT" in done.stdout


def test_where_nothing_is_left_no_worker_imports_libraries(built: Path, root: Path) -> None:
    code = (
        "import sys; from multiprocessing import forkserver; from preprocess.__main__ import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(forkserver._forkserver._forkserver_pid, 'torch' in sys.modules)"
    )
    arguments = ("encode", "folder", "--out", str(built))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True, timeout=280
    )
    assert "0 triples written, 4 kept" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "None False"


def test_both_packages_come_from_this_repository(root: Path) -> None:
    """`preprocess` and `builders` are also names on PyPI."""
    import builders
    import preprocess

    for package in (builders, preprocess):
        assert Path(package.__path__[0]).parent == root


@pytest.mark.parametrize("module", ["preprocess", "builders", "dataset_cards"])
def test_help_names_every_command(module: str, root: Path) -> None:
    done = command(root, "--help", module=module)
    assert done.returncode == 0
    assert "Commands:" in done.stdout
