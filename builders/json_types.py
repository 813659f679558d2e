"""The types of the values in the `.json` of a dataset, over all of its samples.

    types: MetaTypes = {}
    for meta in metadata:          # {"key": "video7020", "score": 1, …}, {"key": "video7021", "score": null, …}
        add_meta(types, meta)
    str(types["score"])            # "int or null"

The card names them, and pins the features that hold all of these values (`builders.features`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from preprocess.samples import JSON

_KINDS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "object"}
_READS_AS_JSON = re.compile(r"\s*(?:[-+\d\"{\[]|true|false|null|nan|inf)", re.IGNORECASE)


@dataclass(slots=True)
class JsonType:
    """What was seen of a value: its kinds, and those of the items of lists and the fields of objects.

    Attributes:
        kinds: `null`, `bool`, `int`, `float`, `string`, `list`, `object`.
        largest: Largest magnitude of an integer.
        reads_as_json: Whether a string could be taken for JSON, as "12" could.
        items: Of all lists together; None before the first list.
        fields: By name, of objects with the same names; empty for objects whose names differ, None before the first.
    """

    kinds: set[str] = field(default_factory=set)
    largest: int = 0
    reads_as_json: bool = False
    items: JsonType | None = None
    fields: dict[str, JsonType] | None = None

    def add(self, value: Any) -> None:
        """Takes one more value, as the `json` module parses it."""
        kind = _KINDS[type(value)]
        self.kinds.add(kind)
        if kind == "int":
            self.largest = max(self.largest, abs(value))
        elif kind == "string":
            self.reads_as_json = self.reads_as_json or _READS_AS_JSON.match(value) is not None
        elif kind == "list":
            self.items = self.items or JsonType()
            for item in value:
                self.items.add(item)
        elif kind == "object":
            for name, own in self._shared_fields(value):
                own.add(value[name])

    def merge(self, other: JsonType) -> None:
        """Takes what another one has seen."""
        self.kinds |= other.kinds
        self.largest = max(self.largest, other.largest)
        self.reads_as_json = self.reads_as_json or other.reads_as_json
        if other.items is not None:
            self.items = self.items or JsonType()
            self.items.merge(other.items)
        if other.fields is not None:
            for name, own in self._shared_fields(other.fields):
                own.merge(other.fields[name])

    def _shared_fields(self, names: Iterable[str]) -> Iterable[tuple[str, JsonType]]:
        """The fields, if objects with these names are like those before; objects keyed by ids are not records."""
        names = list(names)
        if self.fields is None:
            self.fields = {name: JsonType() for name in names}
        elif self.fields.keys() != set(names):
            self.fields = {}
        return self.fields.items()

    def __str__(self) -> str:
        """In words: `float` for numbers of both kinds, null last.

        Examples:
            >>> seen = JsonType()
            >>> for value in (None, [], [1, 2.5]):
            ...     seen.add(value)
            >>> str(seen)
            'list of float or null'
        """
        kinds = self.kinds - ({"int"} if "float" in self.kinds else set())
        names = sorted(kinds, key=lambda kind: (kind == "null", kind))
        return " or ".join(f"list of {self.items}" if name == "list" and self._has_items() else name for name in names)

    def _has_items(self) -> bool:
        return self.items is not None and bool(self.items.kinds)


MetaTypes = dict[str, JsonType]
"""The type of every key of the `.json`, in their order."""


def add_meta(types: MetaTypes, meta: JSON) -> None:
    """Takes the metadata of one more sample."""
    for name, value in meta.items():
        if name not in types:
            types[name] = JsonType()
        types[name].add(value)


def merge_meta(types: MetaTypes, others: Mapping[str, JsonType]) -> None:
    """Takes the types of other samples."""
    for name, other in others.items():
        if name not in types:
            types[name] = JsonType()
        types[name].merge(other)
