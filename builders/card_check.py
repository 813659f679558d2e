"""Checks a README.md against the tars: what `load_dataset` and the Hub's page read from it must be true."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from builders.card_yaml import (
    check_front_matter,
    data_files,
    read_front_matter,
    size_category,
    split_infos,
)
from builders.contents import README_FILE
from builders.features import preview_features
from builders.findings import Finding, Findings
from preprocess.samples import ShardReport
from preprocess.scaffold import PLACEHOLDERS
from preprocess.validation import shown

if TYPE_CHECKING:
    from datasets import Features
    from huggingface_hub import DatasetCardData

_LINK = re.compile(r"\]\(\s*<?([^)>\s]+)|<img[^>]*\bsrc\s*=\s*[\"']([^\"']+)", re.IGNORECASE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|//", re.IGNORECASE)


def check_card(
    folder: Path, shards: Sequence[ShardReport], features: Features, preview: Sequence[ShardReport] | None = ()
) -> Iterator[Finding]:
    """Every problem in `folder/README.md`.

    Args:
        folder: The dataset's.
        shards: What the tars hold.
        features: That hold every sample of them.
        preview: What the tars of the preview hold; None if unknown.
    """
    path = folder / README_FILE
    if not path.is_file():
        yield Finding(README_FILE, "card_missing", "is missing")
        return
    found = Findings(README_FILE)
    try:
        readme = path.read_text("utf-8")
        data = read_front_matter(readme)
    except ValueError as error:
        yield Finding(README_FILE, "card_yaml", str(error))
        return
    for text in PLACEHOLDERS:
        if text in " ".join(readme.split()):
            found.add("card_placeholder", f"still says {text!r}")
    for problem in check_front_matter(data):
        found.add("card_ids" if "is not an id" in problem else "card_yaml", problem)
    if not any(finding.code == "card_yaml" for finding in found):
        _check_config(data, "default", shards, features, found)
        if preview or (preview is not None and "preview" in _by_config(data.get("configs"))):
            _check_config(data, "preview", preview, preview_features(), found)
    category = size_category(sum(shard.samples for shard in shards))
    if data.get("size_categories") not in (category, [category]):
        found.add("card_counts", f"size_categories is {data.get('size_categories')!r}, should be {category!r}")
    for target in _links(readme):
        if not _is_inside(folder, target):
            found.add("card_link", f"links to {shown(target)}, which is not in the folder")
    yield from found


def _check_config(
    data: DatasetCardData, name: str, shards: Sequence[ShardReport], features: Features, found: Findings
) -> None:
    """Compares one config of the front matter with what `card_yaml` writes for these tars."""
    config = _by_config(data.get("configs")).get(name, {})
    info = _by_config(data.get("dataset_info")).get(name, {})
    wanted_files = data_files(shards)
    if config.get("data_files") != wanted_files:
        found.add("card_configs", f"{name}: {_difference(_tars(config.get('data_files')), _tars(wanted_files))}")
    got, wanted = (dict(_columns(listed)) for listed in (info.get("features"), features._to_yaml_list()))
    for column in (*wanted, *(column for column in got if column not in wanted)):
        if got.get(column) != wanted.get(column):
            says, is_ = (types.get(column, "absent") for types in (got, wanted))
            found.add("card_features", f"{name}: {shown(column)} is {shown(says)}, should be {shown(is_)}")
    if list(got) != list(wanted) and got == wanted:
        found.add("card_features", f"{name}: the columns are in the order {shown(list(got))}")
    wanted_splits = split_infos(shards)._to_yaml_list()
    if info.get("splits") != wanted_splits:
        found.add("card_counts", f"{name}: splits are {info.get('splits')}, the tars hold {wanted_splits}")
    total = sum(shard.bytes for shard in shards)
    for field in ("download_size", "dataset_size"):
        if info.get(field) != total:
            found.add("card_counts", f"{name}: {field} is {info.get(field)}, the tars have {total} bytes")


def _by_config(value: Any) -> dict[str, dict[str, Any]]:
    """The entries of a field of the front matter (a list, or one mapping), by the name of their config."""
    entries = value if isinstance(value, list) else [value]
    return {str(entry.get("config_name", "default")): entry for entry in entries if isinstance(entry, dict)}


def _columns(listed: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Columns and their types from the `features` of a config; the fields of a struct as `json.label`."""
    for entry in listed if isinstance(listed, list) else []:
        column, fields = (entry.get("name"), entry.get("struct")) if isinstance(entry, dict) else (entry, None)
        if isinstance(fields, list):
            yield from _columns(fields, f"{above}{column}.")
        else:
            yield f"{above}{column}", {k: v for k, v in entry.items() if k != "name"} if column else entry


def _tars(listed: Any) -> dict[str, str]:
    """Tar to split, from the `data_files` of a config in the form that `card_yaml` writes."""
    return {
        str(path): str(entry.get("split"))
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, Mapping)
        for path in (entry["path"] if isinstance(entry.get("path"), list) else [entry.get("path")])
    }


def _difference(got: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    lacking = sorted(wanted.keys() - got.keys())
    surplus = sorted(got.keys() - wanted.keys())
    both = sorted(wanted.keys() & got.keys())
    moved = [f"{tar} is {got[tar]}, should be {wanted[tar]}" for tar in both if got[tar] != wanted[tar]]
    parts = [f"does not list {lacking[:5]}"] * bool(lacking) + [f"lists {surplus[:5]}"] * bool(surplus) + moved[:5]
    return "; ".join(parts) or "the tars are not listed split by split in their order"


def _is_inside(folder: Path, target: str) -> bool:
    """Whether `target` is in the folder. Links are not resolved: in the cache of the Hub all files are links."""
    below = posixpath.normpath(target)
    try:
        return not below.startswith(("..", "/")) and (folder / below).exists()
    except (OSError, ValueError):  # the target of a link need not even be a valid path
        return False


def _links(readme: str) -> Iterator[str]:
    """Targets of the links and images of a page that are relative paths."""
    for match in _LINK.finditer(readme):
        target = unquote((match[1] or match[2]).partition("#")[0].partition("?")[0])
        if target and not _ELSEWHERE.match(match[1] or match[2]):
            yield target
