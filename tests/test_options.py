"""Options that commands share: which rejects fail a build, and which names an output may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.errors import UserError
from preprocess.options import JUDGED_FROM, MAX_REJECT_RATE, check_reject_rate, open_outputs, split_models


def fails(rejects: dict[str, int], samples: int, allowed: float | None = None) -> bool:
    """Whether a build with these rejects ends with exit code 1."""
    try:
        check_reject_rate(rejects, samples, allowed, Path("rejects.jsonl"))
    except SystemExit as end:
        return end.code == 1
    return False


@pytest.mark.parametrize("reason", ["missing", "download_failed", "duplicate"])
def test_what_is_not_there_is_no_failure(reason: str) -> None:
    """Nobody can repair a video that its host has removed: it is listed and counted, and the build goes on."""
    assert not fails({reason: 100}, 100)
    assert not fails({reason: 99, "unreadable": 1}, 100)
    assert not fails({reason: 1}, 1, allowed=0.0)


@pytest.mark.parametrize("reason", ["unreadable", "decoder_crashed", "timeout", "out_of_memory", "not_finite"])
def test_what_cannot_be_decoded_is_one(reason: str) -> None:
    assert fails({reason: 6}, 100)
    assert fails({reason: 3, "truncated": 3}, 100)
    assert not fails({reason: 5}, 100), "5 % is not more than 5 %"
    assert not fails({reason: 6}, 100, allowed=0.06)
    assert fails({reason: 1}, 1, allowed=0.99)


def test_few_samples_are_judged_only_by_a_rate_that_is_given() -> None:
    assert (JUDGED_FROM, MAX_REJECT_RATE) == (20, 0.05)
    assert not fails({"unreadable": 19}, 19)
    assert not fails({"unreadable": 1}, 20)
    assert fails({"unreadable": 2}, 20)
    assert fails({"unreadable": 1}, 19, allowed=0.05)


def test_the_message_names_a_rate_that_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails({"unreadable": 1, "missing": 5}, 7, allowed=0.1)
    message = capsys.readouterr().err
    assert "1 of 7 samples could not be decoded, more than --max-reject-rate 0.1." in message
    assert not fails({"unreadable": 1}, 7, allowed=0.15)
    assert '(with make: ARGS="--max-reject-rate 0.15").' in message


@pytest.mark.parametrize("name", ["..", ".", "../x", "a/b", "/etc", "", "-x", ".hidden", "a\0b", "a\nb", "a" * 97, "ä"])
def test_a_name_is_that_of_one_folder_and_repository(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of"):
        open_outputs("folder", tmp_path, name)


@pytest.mark.parametrize("name", ["work", "Work"])
def test_a_dataset_is_not_written_among_the_intermediates(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="folder of intermediate files"):
        open_outputs("folder", tmp_path, name)


def test_models_are_separated_by_spaces_unless_they_are_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    assert split_models(str(folder)) == [str(folder)]
    assert split_models("a/b  c/d") == ["a/b", "c/d"]
    assert split_models(None) == []
