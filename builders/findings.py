"""The problems that `verify` can find, and the remedy for each.

A finding as it is printed:

    json_frames  ds_00000.tar: vid_00012.json
        n_frames is 9, the .npy has 10 rows
        → Encode this sample again, then pack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from preprocess.console import printable

_PACK = "Pack again: python -m preprocess shards."
_ENCODE = "Encode this sample again (python -m preprocess encode --overwrite), then pack."
_CARD = "Write the card again: python -m dataset_cards card."
_FETCH = "Copy or download the file again; if it was changed on purpose, pack again."

REMEDIES = {
    # one tar
    "tar_damaged": _FETCH,
    "tar_format": "Pack again as USTAR with the names that `python -m preprocess shards` gives.",
    "tar_header": "Pack again: mtime 0, uid and gid 0, mode 0644, no owner, so that equal input gives equal bytes.",
    "tar_kind": "Remove links, folders and devices: a shard holds regular files only.",
    "tar_end": "Pack again: the last member is followed only by zero blocks, up to a multiple of 10,240 bytes.",
    "member_name": "Name members vid_<number>.npy, .txt, .json: at least five digits, no folder, no other dot.",
    "member_order": "Pack again: the members of a sample are adjacent, in the order npy, txt, json.",
    "member_twice": "Remove the second one, or pack again.",
    "triple_part": "Pack again from a complete triple: every sample has .npy, .txt and .json.",
    "npy_unreadable": _ENCODE,
    "npy_layout": "Store .npy version 1.0, little-endian, in C order; never Python objects.",
    "npy_dtype": "Store float16 or float32, the same in the whole dataset.",
    "npy_shape": "Store two dimensions, (n_frames, dim), with the same dim in the whole dataset.",
    "npy_empty": "A sample without frames belongs in rejects.jsonl, not in a tar: encode again.",
    "npy_not_finite": _ENCODE,
    "npy_zero_row": _ENCODE,
    "txt_utf8": "Store the caption as UTF-8.",
    "txt_empty": "Give every sample a caption, for example its label.",
    "txt_caption": "The .txt follows from the .json's captions by the caption mode: pack again.",
    "json_unreadable": "Store one JSON object in UTF-8, without NaN or infinity.",
    "json_keys": "All .json of a dataset have the same keys in the same order: pack again.",
    "json_value": _ENCODE,
    "json_frames": _ENCODE,
    "json_spans": _ENCODE,
    "json_timestamps": _ENCODE,
    "key_twice": "Make the keys of samples.jsonl unique, encode and pack again; or restore the manifest of an append.",
    # ids over all tars
    "id_order": _PACK,
    "id_twice": _PACK,
    "id_gap": _PACK,
    "id_width": "Pad all ids to the same width: at least five digits, and as many as the largest id has.",
    # the folder
    "no_shards": "Pack first: python -m preprocess shards.",
    "shard_name": "Name tars ds_00000.tar, ds_00001.tar, … without gaps.",
    "shard_missing": _FETCH,
    "shard_unlisted": "Delete the tar if it remains from an earlier run, else pack again.",
    "shard_size": "All tars of a split except the last hold the same number of samples (10,000): pack again.",
    "root_script": "Delete it: a Python file at the root of a Hub repository makes load_dataset fail.",
    "stray_file": "Delete it, or move it elsewhere: only the dataset's own files belong here.",
    "symlink": "Replace the link with the file, or delete it: only regular files are published.",
    "splits_csv": _PACK,
    "sizes_json": _PACK,
    "manifest_invalid": _PACK,
    "manifest_counts": _PACK,
    "manifest_shards": _PACK,
    "manifest_sha256": _FETCH,
    "manifest_encoder": "The manifest states another dim or dtype than the tars hold: pack again.",
    "generations": "Restore manifest.json; or pack everything anew: python -m preprocess shards --no-append.",
    "manifest_private": "Pack again: published files must not contain paths of this machine.",
    "rejects": "Run the build again: the manifest and rejects.jsonl must come from the same run.",
    # the preview
    "preview_sheet": "Make the contact sheets again (python -m preprocess preview), then the card.",
    # the card
    "card_missing": _CARD,
    "card_yaml": _CARD,
    "card_ids": "Use ids that the Hub knows (for the license: DatasetSpec.license), then write the card again.",
    "card_configs": _CARD,
    "card_features": _CARD,
    "card_counts": _CARD,
    "card_link": "Restore the file that the card links to, or write the card again.",
    "card_placeholder": "Edit what `make new` wrote (recipe and dataset_cards/<name>.md), then write the card again.",
}
"""Code of a finding to its remedy. The set is closed: a finding with another code is a bug."""

MOST_PER_CODE = 5


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One problem.

    Attributes:
        where: File below the dataset's folder, and the member in it.
        code: A key of `REMEDIES`.
        problem: What was found, and what was expected.
    """

    where: str
    code: str
    problem: str

    def __post_init__(self) -> None:
        if self.code not in REMEDIES:
            raise ValueError(f"code must be one of {sorted(REMEDIES)}, got {self.code!r}")

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.code]

    def __str__(self) -> str:
        return f"{self.code}  {printable(self.where)}\n    {printable(self.problem)}\n    → {self.remedy}"


@dataclass(slots=True)
class Findings:
    """Collects the problems of one file: the first few of each kind, and how many more there are.

    A tar of ten thousand samples that were all encoded wrongly does not print ten thousand lines.
    """

    where: str
    _found: list[Finding] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def add(self, code: str, problem: str, member: str = "") -> None:
        """Adds a problem of a member of the file, or of the whole file."""
        self._counts[code] += 1
        if self._counts[code] <= MOST_PER_CODE:
            self._found.append(Finding(f"{self.where}: {member}" if member else self.where, code, problem))

    def extend(self, code: str, problems: Iterable[str]) -> None:
        """Adds several of one kind."""
        for problem in problems:
            self.add(code, problem)

    def __iter__(self) -> Iterator[Finding]:
        yield from self._found
        for code, count in self._counts.items():
            if count > MOST_PER_CODE:
                yield Finding(self.where, code, f"and {count - MOST_PER_CODE:,} more like these")
