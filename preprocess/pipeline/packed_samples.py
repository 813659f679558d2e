"""A few samples of a packed dataset, chosen by a seed: the same ones on every machine.

>>> [(one.file, one.id, one.meta["key"]) for one in choose(Path("data/CLIP-Shapes"), ["ds_00000.tar"], n=2, seed=42)]
[('ds_00000.tar', 'vid_00017', 'cyan_star_up_000'), ('ds_00000.tar', 'vid_00051', 'red_heart_left_000')]
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import CAPTION_INDEX, parse_json
from preprocess.samples import JSON


class PackedTriple(NamedTuple):
    """One triple of a tar; `npy` is a view of the tar, which it keeps open, or a copy."""

    file: str
    id: str
    npy: memoryview | bytes
    txt: bytes
    meta: JSON


def choose(
    folder: Path,
    files: Iterable[str],
    n: int,
    seed: int,
    *,
    one_per_sample: bool = False,
    without: Collection[str] = (),
) -> list[PackedTriple]:
    """`n` triples of the tars, or all where there are fewer, in the order of the tars.

    The choice goes by a hash of the key: it hardly changes when samples are added or the tars are cut otherwise.

    Args:
        folder: The dataset's.
        files: Names of its tars.
        n: How many.
        seed: Another one chooses others.
        one_per_sample: Take the first only, where every caption of a sample has a triple (caption mode `each`).
        without: Ids to leave out: of rows that later ones replace.

    Raises:
        UserError: A tar does not exist, or damaged.
    """

    def triples(file: str) -> Iterator[PackedTriple]:
        for one in packed_triples(folder / file):
            if one.id not in without and not (one_per_sample and one.meta.get(CAPTION_INDEX)):
                yield one

    def rank(one: PackedTriple) -> bytes:
        return hashlib.sha256(f"{seed}:{one.meta['key']}:{one.meta.get(CAPTION_INDEX, 0)}".encode()).digest()

    chosen: list[PackedTriple] = []
    for file in files:
        best = heapq.nsmallest(n, chain(chosen, triples(file)), key=rank)
        chosen = [one._replace(npy=bytes(one.npy)) for one in best]  # views would keep a tar open for each
    return sorted(chosen, key=lambda one: (one.file, one.id))


def packed_triples(path: Path) -> Iterator[PackedTriple]:
    """The triples of a tar, in order.

    Raises:
        UserError: It does not exist, or is damaged.
    """
    try:
        for one in iter_triples(path):
            name = f"{path}: {one.id}.json"
            meta = parse_json(one.json, name)
            if not isinstance(meta.get("key"), str):
                raise DamagedFileError(name, "", f"has no key, {meta.get('key')!r:.100}", "Pack the dataset again.")
            yield PackedTriple(path.name, one.id, one.npy, bytes(one.txt), meta)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "Pack the dataset again, or download the tar.") from None
