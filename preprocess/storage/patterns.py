"""Many files named at once, as WebDataset does it: `shards/{00000..00012}.tar`, `{train,val}-{0..9}.tar`."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

from preprocess.addresses import scheme_of
from preprocess.errors import UserError
from preprocess.storage.locations import is_remote

MAX_NAMES = 1_000_000
"""Most names that a pattern may stand for."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})")


def expand_braces(pattern: str) -> list[str]:
    """The names that a pattern stands for, in its order, as bash writes them; a name without braces is itself.

    Examples:
        >>> expand_braces("{train,val}-{08..10}.tar")[:4]
        ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']

    Raises:
        UserError: More than `MAX_NAMES` names.
    """
    pieces = _BRACES.split(pattern)  # text, content of braces, text, …
    choices = [_choices(piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    _check_count(math.prod(map(len, choices)), pattern)
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(content: str) -> list[str]:
    found = _RANGE.fullmatch(content)
    if found is None:
        return content.split(",") if "," in content else [f"{{{content}}}"]
    first, last = int(found[1]), int(found[2])
    _check_count(abs(last - first) + 1, f"{{{content}}}")
    padded = any(text.startswith("0") and len(text) > 1 for text in found.groups())
    width = max(map(len, found.groups())) if padded else 0
    numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return [f"{number:0{width}d}" for number in numbers]


def _check_count(count: int, pattern: str) -> None:
    if count > MAX_NAMES:
        raise UserError(f"{pattern!r} stands for {count:,} names, above {MAX_NAMES:,}", "Name fewer at once.")


def is_pattern(path: Path) -> bool:
    """Whether a path has braces that stand for several names; a file or folder that is called so is none."""
    return expand_braces(str(path)) != [str(path)] and (is_remote(path) or not path.exists())


def base_folder(path: Path) -> Path:
    """The folder that everything named by a path is in: a folder itself, or of a pattern the part without braces.

    An http address with a dot in its last part is a file: a server would send all of it to say whether it is a folder.
    """
    web = is_remote(path) and scheme_of(str(path)) in ("http", "https")
    if not (web and "." in path.name) and path.is_dir():
        return path
    folder = path.parent
    while _BRACES.search(str(folder)) and (web or not folder.is_dir()):
        folder = folder.parent
    return folder
