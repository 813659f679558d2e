"""The same raw data gives the same published folder, wherever, whenever and by whomever it is built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kills.runs import ROOT
from tests.kills.whole_build import NAME

CLOCK = Path(__file__).resolve().parent / "clock"
YEAR_S = 365 * 24 * 3600
NO_UTF8 = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@dataclass(frozen=True)
class Place:
    """Where and how a build runs.

    Attributes:
        folder: Below which raw data and output lie.
        variables: Of the environment.
        locale: Name of a locale, which the test makes from the system's sources.
        umask: Of the process.
        workers: Worker processes.
        relative: Whether the build is given relative paths.
        mtime: Modification time of the raw files, or None for now.
    """

    folder: str = "a"
    variables: dict[str, str] = field(default_factory=dict)
    locale: str = ""
    umask: int = 0o022
    workers: int = 2
    relative: bool = False
    mtime: float | None = None


def build(place: Place, raw: Path, folder: Path) -> Path:
    """Runs build, evaluate and card there; the output folder."""
    here = folder / place.folder
    if not (here / "raw").exists():
        shutil.copytree(raw, here / "raw", ignore=shutil.ignore_patterns("bad.mp4"))
    if place.mtime is not None:
        for path in (here / "raw").rglob("*"):
            os.utime(path, (place.mtime, place.mtime))
    paths = ("raw", "out") if place.relative else (here / "raw", here / "out")
    environment = {
        **os.environ,
        "HOME": str(folder / "home"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(CLOCK)]),
        **(made_locale(place.locale, folder) if place.locale else {}),
        **place.variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills.whole_build", *map(str, paths), str(place.workers)],
        cwd=here if place.relative else ROOT,
        env=environment,
        umask=place.umask,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=280,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return here / "out"


def made_locale(name: str, folder: Path) -> dict[str, str]:
    """The variables that choose a locale, such as `tr_TR`."""
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales", name).is_file():
        pytest.skip(f"the sources of the locale {name} are not installed")
    subprocess.run(["localedef", "-i", name, "-f", "UTF-8", folder / f"{name}.UTF-8"], check=True, capture_output=True)
    return {"LOCPATH": str(folder), "LC_ALL": f"{name}.UTF-8", "LANG": f"{name}.UTF-8"}


def published(out: Path) -> dict[str, str]:
    """SHA-256 of every file that a push sends."""
    folder = out / NAME
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def reference(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a build in an ordinary place publishes."""
    files = published(build(Place(), raw, tmp_path_factory.mktemp("reference")))
    assert {"README.md", "manifest.json", "ds_00000.tar", "assets/map.png"} <= set(files)
    return files


EVERYTHING = Place(
    folder="ü n/数据 'q' $x",
    variables={**NO_UTF8, "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242", "CLOCK_OFF_S": str(-20 * YEAR_S)},
    umask=0o077,
    workers=1,
    mtime=1e9,
)


def test_everything_else_at_once(raw: Path, reference: dict[str, str], tmp_path: Path) -> None:
    assert published(build(EVERYTHING, raw, tmp_path)) == reference


MATRIX = {
    "another folder": Place(folder="b"),
    "a folder with spaces": Place(folder="with a space/and more"),
    "a folder that is not ASCII": Place(folder="ünïcödé/数据/🎬"),
    "a folder that is not ASCII without UTF-8": Place(folder="ünïcödé/数据/🎬", variables=NO_UTF8),
    "relative paths": Place(relative=True),
    "LC_ALL=C": Place(variables=NO_UTF8),
    "de_DE": Place(locale="de_DE"),
    "tr_TR": Place(locale="tr_TR"),
    "the first time zone": Place(variables={"TZ": "Pacific/Kiritimati"}),
    "half an hour off": Place(variables={"TZ": "America/St_Johns"}),
    "umask 077": Place(umask=0o077),
    "umask 000": Place(umask=0),
    "one worker": Place(workers=1),
    "five workers": Place(workers=5),
    "hash seed 0": Place(variables={"PYTHONHASHSEED": "0"}),
    "hash seed 1": Place(variables={"PYTHONHASHSEED": "1"}),
    "the clock 30 years back": Place(variables={"CLOCK_OFF_S": str(-30 * YEAR_S)}, mtime=3e8),
    "the clock after 2038": Place(variables={"CLOCK_OFF_S": str(20 * YEAR_S)}, mtime=2.3e9),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", MATRIX.values(), ids=MATRIX)
def test_one_thing_at_a_time(place: Place, raw: Path, reference: dict[str, str], tmp_path: Path) -> None:
    assert published(build(place, raw, tmp_path)) == reference


@pytest.mark.slow
def test_continued_after_the_clock_was_set_back(raw: Path, reference: dict[str, str], tmp_path: Path) -> None:
    """Everything that is there is from the future, and some of it is missing."""
    out = build(Place(), raw, tmp_path)
    for path in out.rglob("*"):
        os.utime(path, (4e9, 4e9))
    (out / NAME / "ds_00000.tar").unlink()
    (out / NAME / "README.md").unlink()
    next((out / "work" / NAME / "processed" / "train").glob("*.json")).unlink()
    continued = Place(variables={"CLOCK_OFF_S": str(-5 * YEAR_S)})
    assert published(build(continued, raw, tmp_path)) == reference
