"""The distribution: what the wheel contains and declares, and the command `ved` outside the checkout."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from explorer.page.server import INSTALL
from tests.media_files import write_video

PACKAGES = ("preprocess", "builders", "dataset_cards", "explorer", "ved")
Run = subprocess.CompletedProcess[str]


def run(*command: object, cwd: Path) -> Run:
    """Runs a command that has to succeed, without the checkout on the path of imports."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the backend that requirements-dev.txt pins, without a download."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, root, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def ved(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script in an environment that has the wheel, and sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    return folder / "bin" / "ved"


def pin(line: str) -> tuple[str, frozenset[str], str]:
    """A requirement as name, extras and version, in any spelling (`huggingface-hub`) and for any Python."""
    requirement = Requirement(line)
    return canonicalize_name(requirement.name), frozenset(requirement.extras), str(requirement.specifier)


def pins(path: Path) -> set[tuple[str, frozenset[str], str]]:
    """The requirements of a file, without its comments."""
    return {pin(line) for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path, root: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for package in PACKAGES for path in (root / package).rglob("*") if path.is_file())
    assert held == {str(path.relative_to(root)) for path in files if "__pycache__" not in path.parts}
    assert "preprocess/demo/tiny_clip/model.safetensors" in held


def test_the_wheel_declares_the_pins_of_the_requirements_files(wheel: Path, root: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Name"] == "video-embedding-datasets"
    declared: dict[str, set[tuple[str, frozenset[str], str]]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == [\"'](.+?)[\"']", marker)
        declared.setdefault(extra[1] if extra else "", set()).add(pin(requirement))
    names = ("long-video", "explore", "openvino", "ray", "gcs", "azure")
    extras = {name: pins(root / f"requirements-{name}.txt") for name in names}
    assert declared == {"": pins(root / "requirements.txt"), **extras}
    assert set(metadata.get_all("Provides-Extra")) == set(extras)


def test_gradio_is_installed_by_itself_and_everything_it_needs_is_in_the_extra(root: Path) -> None:
    """As long as Gradio's declared Pillow is not ours; the remedy and the README name how."""
    gradio = pytest.importorskip("gradio", reason="Gradio is not installed: make dev")
    (line,) = (line for line in (root / "requirements-gradio.txt").read_text().splitlines() if line[0] != "#")
    assert line == f"gradio=={gradio.__version__}"
    assert line in INSTALL
    pinned = {name: version.removeprefix("==") for name, _, version in pins(root / "requirements.txt")}
    pinned |= {name: version.removeprefix("==") for name, _, version in pins(root / "requirements-explore.txt")}
    refused = []
    for needed in map(Requirement, requires("gradio") or []):
        if needed.marker and not needed.marker.evaluate({"extra": "", "python_version": "3.13"}):
            continue
        name = canonicalize_name(needed.name)
        # Four come with packages of requirements.txt, which do not say which version.
        if name not in pinned and name in ("anyio", "markupsafe", "packaging", "pandas"):
            continue
        if not needed.specifier.contains(pinned[name]):
            refused.append(name)
    assert refused == ["pillow"], "if empty: Gradio can move to requirements-explore.txt"


def test_ved_runs_the_installed_packages(ved: Path, tmp_path: Path) -> None:
    """`preprocess` and `builders` are also names on PyPI: these are the ones of this wheel."""
    code = (
        "import importlib, importlib.metadata as m, json, sys;"
        "owners = m.packages_distributions();"
        "print(json.dumps({p: [importlib.import_module(p).__file__, owners[p]] for p in sys.argv[1:]}))"
    )
    found = json.loads(run(ved.with_name("python"), "-c", code, *PACKAGES, cwd=tmp_path).stdout)
    for package, (file, owners) in found.items():
        assert Path(file).is_relative_to(ved.parent.parent), package
        assert owners == ["video-embedding-datasets"]


def test_ved_is_one_command_line_over_all_packages(ved: Path, tmp_path: Path) -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", run(ved, "--help", cwd=tmp_path).stdout, re.MULTILINE)
    assert {"build", "long-video", "verify", "push", "card", "evaluate", "page"} <= set(listed)
    assert len(listed) == len(set(listed)), "two packages have a command of the same name"
    table = [line.split() for line in run(ved, "list", cwd=tmp_path).stdout.splitlines()]
    assert table[0] == ["dataset", "title", "license", "homepage"]
    assert {"demo", "folder", "long-demo", "msrvtt"} <= {row[0] for row in table}
    refused = subprocess.run([ved, "new", "my_videos"], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert refused.returncode == 2
    assert "is not a checkout" in refused.stderr


def test_ved_build_ends_with_a_described_and_verified_dataset(ved: Path, tmp_path: Path) -> None:
    """With the model, template and prose that the wheel holds."""
    for split, number in (("train", 0), ("train", 1), ("test", 2)):
        (tmp_path / "videos" / split / "a").mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "videos" / split / "a" / f"{number}.mp4", 25, fps=10)
    command = (ved, "build", "folder", "--raw", "videos", "--model", "tiny-clip", "--name", "CLIP-Mine")
    done = run(*command, cwd=tmp_path)
    assert "3 samples, 9 frames in 2 tars: OK" in done.stdout
    assert 'load_dataset("data/CLIP-Mine")' in done.stdout.splitlines()[-1]
    assert (tmp_path / "data/work/CLIP-Mine/evaluation.json").is_file()
    assert {"ds_00000.tar", "README.md"} <= {path.name for path in (tmp_path / "data" / "CLIP-Mine").iterdir()}
    again = run(ved, "retry", "folder", "--name", "CLIP-Mine", cwd=tmp_path)
    assert "tars: OK" in again.stdout
    assert run(ved, "where", "folder", "--name", "CLIP-Mine", cwd=tmp_path).stdout == "data/CLIP-Mine\n"


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_wheel_installs_in_an_empty_environment(root: Path, tmp_path: Path) -> None:
    """As a new user does it: isolated build, all dependencies from the index (about 5 GB)."""
    run(sys.executable, "-m", "build", "--outdir", tmp_path, root, cwd=tmp_path)
    (built,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "environment", with_pip=True)
    bin_ = tmp_path / "environment" / "bin"
    install = [bin_ / "python", "-m", "pip", "install", "--quiet", built]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=2400)
    assert done.returncode == 0, done.stderr
    run(bin_ / "ved", "build", "demo", cwd=tmp_path)
