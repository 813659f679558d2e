"""SECURITY.md says what the code does: its limits are the constants of the code, its lists are those of the code."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from builders.contents import FIGURES, is_root_file
from preprocess import addresses
from preprocess.media import images
from preprocess.validation import parse_json


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "SECURITY.md").read_text("utf-8")


def constant(path: str) -> Any:
    """The value of `package.module.NAME`, or the default of `package.module.Class.field`."""
    module, name = path.rsplit(".", 1)
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        owner = constant(module)
        return {field.name: field.default for field in dataclasses.fields(owner)}[name]


def test_limits_are_those_of_the_code(page: str) -> None:
    rows = re.findall(r"^\| (.+?) \| ([\d,]+) \| `([\w.]+)` \|$", page, re.MULTILINE)
    table = page.partition("| limit |")[2].partition("\n\n")[0]
    assert len(rows) == table.count("\n") - 1, "every row names a number and where it is set"
    assert {path: value for _, value, path in rows} == {path: f"{constant(path):,.0f}" for _, _, path in rows}
    assert len({path for _, _, path in rows}) == len(rows) > 20


def test_every_limit_of_downloads_and_media_is_listed(page: str) -> None:
    for name in ("preprocess.download.http", "preprocess.media.fetch", "preprocess.media.frames", "explorer.models"):
        for limit, value in vars(importlib.import_module(name)).items():
            if re.match(r"_?(MAX|[A-Z]+_TIMEOUT|ATTEMPTS|LONGEST)", limit) and isinstance(value, int | float):
                assert f"`{name}.{limit}`" in page, limit


def test_json_is_as_deep_as_the_page_says(page: str) -> None:
    (levels,) = map(int, re.findall(r"nested (\d+) levels deep", page))
    assert parse_json(b"[" * levels + b"]" * levels)
    with pytest.raises(ValueError, match="recursion"):
        parse_json(b"[" * (levels + 1) + b"]" * (levels + 1))


def test_lists_are_those_of_the_code(page: str) -> None:
    text = " ".join(page.split())
    protocols = re.findall(r"`(\w+)`", text.partition("Addresses: only ")[2].partition(";")[0])
    assert set(protocols) == addresses.PROTOCOLS
    formats = re.split(r", | and ", text.partition("Pillow opens ")[2].partition(" only")[0])
    assert [one.upper() for one in formats] == list(images._FORMATS)
    files = re.findall(r"`([\w.]+)`", text.partition("sends its own files only: ")[2].partition("`ds_")[0])
    assert len(files) == 8
    assert all(map(is_root_file, files))
    assert FIGURES[-1] == "strip.png", "the figure that shows frames"
