"""What may be published: regular files with the names of a dataset; links, strangers and placeholders are found."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from string import Template
from typing import Any

import pytest

from builders import push
from builders.contents import entries
from builders.loading import set_address
from builders.push import files_to_push
from builders.verify import verify
from preprocess import scaffold
from preprocess.errors import UserError
from preprocess.formats.manifest import read


def findings(folder: Path) -> dict[str, str]:
    return {finding.where: finding.code for finding in verify(folder).findings}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("of this machine")
    return path


@pytest.mark.parametrize("name", ["assets/map.png", "LICENSE", "preview/train_00000.tar", "assets/other.png", "notes"])
def test_a_link_to_a_file_outside_is_found_and_not_sent(make_dataset: Any, secret: Path, name: str):
    folder = make_dataset()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(secret)
    assert (name, "symlink") in {(finding.where, finding.code) for finding in verify(folder).findings}
    with pytest.raises(UserError, match=f"{name} is a symbolic link"):
        files_to_push(folder)


def test_a_link_to_a_folder_is_not_descended_into(make_dataset: Any, secret: Path):
    folder = make_dataset()
    (folder / "assets").symlink_to(secret.parent)
    assert findings(folder) == {"assets": "symlink"}
    assert not [path for path, _ in entries(folder) if "/" in path]
    with pytest.raises(UserError, match="symbolic link"):
        files_to_push(folder)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("assets/notes.txt", "stray_file"),
        ("assets/other.png", "stray_file"),
        ("assets/deeper/map.png", "stray_file"),
        ("preview/notes.txt", "stray_file"),
        (".env", "stray_file"),
        ("load.py", "root_script"),
    ],
)
def test_files_of_other_names_are_found_and_not_sent(make_dataset: Any, name: str, code: str):
    folder = make_dataset()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    assert code in findings(folder).values()
    with pytest.raises(UserError, match="not a file of a dataset"):
        files_to_push(folder)


@pytest.mark.parametrize("name", ["splits.csv", "assets/map.png", "README.md", "ds_00000.tar"])
def test_a_pipe_is_found_and_not_waited_for(make_dataset: Any, name: str):
    folder = make_dataset()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert name in findings(folder)
    with pytest.raises(UserError, match="not a regular file"):
        files_to_push(folder)


@pytest.mark.parametrize("name", ["rejects.jsonl", "ds_00009.tar", "preview/train_00001.tar", "assets/strip.png"])
def test_what_only_an_earlier_version_had_is_deleted(name: str):
    """Each of these may be absent from a later version; a push deletes it from the repository then."""
    assert any(fnmatch.fnmatch(name, pattern) for pattern in push._STALE)


def test_a_folder_with_the_name_of_a_table_is_a_finding(make_dataset: Any):
    folder = make_dataset()
    (folder / "sizes.json").unlink()
    (folder / "sizes.json").mkdir()
    assert {"sizes.json", "sizes.json/"} & findings(folder).keys()


def test_a_hostile_name_is_printed_without_terminal_escapes(make_dataset: Any):
    folder = make_dataset()
    (folder / "a\x1b[2Jb").touch()
    printed = "\n".join(map(str, verify(folder).findings))
    assert r"a\x1b[2Jb" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("placeholder", scaffold.PLACEHOLDERS)
def test_what_make_new_wrote_cannot_be_published(make_dataset: Any, placeholder: str):
    written = "".join(t.template for t in vars(scaffold).values() if isinstance(t, Template))
    assert placeholder in written
    folder = make_dataset()
    assert not verify(folder).findings
    readme = folder / "README.md"
    readme.write_text(readme.read_text("utf-8") + "\nText. " + placeholder.replace(" ", "\n", 1) + " more.\n")
    assert findings(folder) == {"README.md": "card_placeholder"}


def test_a_card_edited_by_hand_is_not_half_readdressed(make_dataset: Any):
    folder = make_dataset()
    manifest = read(folder / "manifest.json")
    code = '```python\nds = load_dataset("data/CLIP-Shapes", split="test")\n```\n'
    with pytest.raises(UserError, match="not from 'org/CLIP-Shapes'"):
        set_address(code, manifest, "org/CLIP-Shapes")
    assert set_address("# Title\n", manifest, "org/CLIP-Shapes") == "# Title\n"
