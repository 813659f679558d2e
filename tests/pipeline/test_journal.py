"""What the journal trusts after a run that ended, a run that was killed, and a power failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.errors import DamagedFileError
from preprocess.pipeline import journal as journals
from preprocess.pipeline.journal import Journal
from tests.pipeline.conftest import on_disk


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def opened(file: Path) -> Journal:
    return Journal(file, file.parent)


def started_again(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The next journal is opened after the machine was started again."""
    (folder / "boot_id").write_text("another boot\n")
    monkeypatch.setattr(journals, "_BOOT_ID", folder / "boot_id")


def test_a_run_that_ended_is_sorted_and_trusted_by_every_boot(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(file)
    with journal:
        journal.add("b", (10, 99))
        journal.add("a", (11, '"etag"'))
        journal.add("c", None)
    journal.rewrite(journal.media)
    assert file.read_text().splitlines() == [
        '{"key": "a", "media": [11, "\\"etag\\""]}',
        '{"key": "b", "media": [10, 99]}',
        '{"key": "c", "media": null}',
        '{"synced": true}',
    ]
    started_again(monkeypatch, tmp_path)
    again = opened(file)
    assert (again.media, again.interrupted) == ({"a": (11, '"etag"'), "b": (10, 99), "c": None}, False)


@on_disk
def test_a_killed_run_is_trusted_to_its_last_whole_line(file: Path) -> None:
    journal = opened(file)
    journal.add("a", (1, 1))
    journal.add("b", (2, 2))
    file.write_bytes(file.read_bytes()[:-5])
    again = opened(file)
    assert (again.media, again.interrupted) == ({"a": (1, 1)}, True)
    again.add("c", (3, 3))
    assert opened(file).media == {"a": (1, 1), "c": (3, 3)}, "half a line does not damage the next one"


@on_disk
def test_after_a_power_failure_only_what_was_synced_counts(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(file)
    journal.add("a", (1, 1))
    monkeypatch.setattr(Journal, "INTERVAL_S", -1.0)
    journal.add("b", (2, 2))
    monkeypatch.setattr(Journal, "INTERVAL_S", 3600.0)
    journal.add("c", (3, 3))
    assert opened(file).media.keys() == {"a", "b", "c"}
    started_again(monkeypatch, tmp_path)
    again = opened(file)
    assert (again.media.keys(), again.interrupted) == ({"a", "b"}, True)
    again.add("d", (4, 4))
    assert opened(file).media.keys() == {"a", "b", "d"}, "what was not trusted is not trusted later"


@on_disk
def test_triples_are_synced_before_the_line_that_says_so(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents: list[str] = []
    monkeypatch.setattr(journals, "sync", lambda folder: contents.append((folder / file.name).read_text()))
    journal = opened(file)
    with journal:
        journal.add("a", None)
    assert ['"a"' in content for content in contents] == [True]
    assert contents[-1].count("synced") == 1, "that of the start"
    assert file.read_text().splitlines()[-1] == '{"synced": true}'


@pytest.mark.parametrize("line", [b"{}x", b'{"key": 3}', b'{"key": "a", "media": [1]}', b"\xff", b'{"more": 1}'])
def test_a_line_that_is_not_ours_is_named(file: Path, line: bytes) -> None:
    file.write_bytes(b'{"synced": true}\n' + line + b"\n")
    with pytest.raises(DamagedFileError, match=r"journal\.jsonl: line 2"):
        opened(file)
