from __future__ import annotations

from pathlib import Path

import braceexpand
import pytest

from preprocess.errors import UserError
from preprocess.storage import base_folder, expand_braces, is_pattern, location


@pytest.mark.parametrize(
    "pattern",
    [
        "shards/{00000..00012}.tar",
        "{train,val}-{8..11}.tar",
        "s3://bucket/{a,b}/{08..10}-of-{0..1}.tar",
        "{3..1}.tar",
        "{,x}.tar",
        "{single}.tar",
        "no braces.tar",
        "{1..2}{a,b}",
        "{9..010}.tar",
        "https://example.org/{0..1}.tar?key=a%2Fb",
    ],
)
def test_names_are_those_that_webdataset_reads(pattern: str) -> None:
    assert expand_braces(pattern) == list(braceexpand.braceexpand(pattern))


@pytest.mark.parametrize("pattern", ["{0..999999999}.tar", "{0..9999}{0..9999}.tar", "{5..99999999999}"])
def test_a_pattern_of_too_many_names_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(UserError, match="above 1,000,000"):
        expand_braces(pattern)


def test_the_folder_of_a_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "{a,b}"
    (odd / "deep").mkdir(parents=True)
    assert base_folder(tmp_path) == tmp_path
    assert base_folder(tmp_path / "x.tar") == tmp_path
    assert base_folder(tmp_path / "{c,d}" / "{0..1}.tar") == tmp_path
    assert base_folder(odd / "deep" / "{0..1}.tar") == odd / "deep"
    assert base_folder(location("https://example.org/x/{a,b}/{0..1}.tar")) == location("https://example.org/x")
    assert not is_pattern(odd)
    assert is_pattern(tmp_path / "{c,d}")
    assert is_pattern(location("https://example.org/x/{0..1}.tar"))
    assert not is_pattern(tmp_path / "{c}")
