"""Damages JSON, JSON Lines and tables where it hurts: one value or cell becomes something that no reader expects.

    mutate_document(b'{"start": 1.5}', Random(3))    # b'{"start": "http://["}'

Bytes that are neither are damaged as files are (`tests.fuzz.mutants`).
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.fuzz.mutants import mutate

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, 1e-320, 1e308, -1e308, 2**31, 2**63, 2**64, 10**400, float("nan"), float("inf"),
    "", " ", "\0", "\ud800", "\u2028", "\x85", "\x1b[2J", "a/b", "..", "../x", "/etc/passwd", "C:\\x", "x" * 300,
    "é" * 300, "http://[", "http://h:99999999/x",
    "file:///etc/passwd", "s3://", "://", "-1", "1e308", "nan", "inf", "1_0", "٣",
    "9" * 400, "1:99:99", "val", "train", "true", "\"", "a,b", "a;b", "a\tb", "a\nb", "a\rb", "|", "=1+1",
    [], {}, [[]], [None], [""], {"": None}, {"a": {"a": {}}}, ["a", 1], [[1, 2], [2, 1]], [-1.0, 1e308],
)  # fmt: skip


def mutate_document(data: bytes, random: Random) -> bytes:
    """One to three damages."""
    for _ in range(random.choice((1, 1, 2, 3))):
        data = random.choice((_value, _value, _cell, _bytes))(data, random)
    return data


def _value(data: bytes, random: Random) -> bytes:
    """Replaces, adds, removes or repeats a value of JSON, or of one line of JSON Lines."""
    lines = data.split(b"\n") if b"\n{" in data else [data]
    number = random.randrange(len(lines))
    try:
        document = json.loads(lines[number])
    except (ValueError, RecursionError):
        return _cell(data, random)
    places = list(_places(document))
    if not places:
        document = random.choice(VALUES)
    else:
        parent, key = random.choice(places)
        value = random.choice((*VALUES, parent[key], *(parent[key] for parent, key in random.sample(places, 1))))
        how = random.randrange(8)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, list):
            parent.insert(key, value)
        elif how == 1:
            parent[str(value)[:20]] = value
        else:
            parent[key] = value
    try:
        lines[number] = json.dumps(document).encode()
    except (ValueError, RecursionError):  # a value that contains itself
        return data
    return b"\n".join(lines)


def _places(document: Any) -> Any:
    """Each value inside, as the object or list that holds it and its key there."""
    todo = [document]
    while todo:
        parent = todo.pop()
        for key in list(parent) if isinstance(parent, dict) else range(len(parent)) if isinstance(parent, list) else ():
            yield parent, key
            todo.append(parent[key])


def _cell(data: bytes, random: Random) -> bytes:
    """Replaces a cell of a table, or a word of a text."""
    delimiter = random.choice([mark for mark in (b",", b";", b"\t", b"\n", b" ", b":") if mark in data] or [b"\n"])
    cells = data.split(delimiter)
    value = str(random.choice(VALUES)).encode("utf-8", "surrogatepass")
    cells[random.randrange(len(cells))] = random.choice((value, b'"' + value, b'"' + value + b'"'))
    return delimiter.join(cells)


def _bytes(data: bytes, random: Random) -> bytes:
    return mutate(data, random.randrange(1 << 32))
