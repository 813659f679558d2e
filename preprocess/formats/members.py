"""The members of a sample, declared once: `<key>.npy`, `<key>.txt`, `<key>.json`.

Triples, parts, shards, the tar reader, the shard index, verify and the `datasets` builder all read `MEMBERS`. A further
member is one more entry here, and whatever produces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from preprocess.errors import DamagedFileError
from preprocess.formats.triples import npy_array, npy_bytes, parse_json
from preprocess.samples import Triple, canonical_json

Data = bytes | memoryview


@dataclass(frozen=True, slots=True)
class SampleMember:
    """One file of a sample.

    Attributes:
        extension: What follows the first dot of its name.
        write: Its bytes, from what encoding made of the sample.
        read: Its value, from its bytes and a name for errors; raises DamagedFileError where they are not valid.
        column: Type of its column in the `datasets` builder: `vectors`, `string`, `json` or `binary`.
        aliases: Other extensions that are read as this one.
        from_sample: Packing makes it from the sample alone, and does not read what encoding wrote.
    """

    extension: str
    write: Callable[[Triple], bytes]
    read: Callable[[Data, object], Any]
    column: Literal["vectors", "string", "json", "binary"]
    aliases: tuple[str, ...] = ()
    from_sample: bool = False


def read_text(data: Data, name: object) -> str:
    """The text of a `.txt`.

    Raises:
        DamagedFileError: Not UTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        remedy = "Encode it again, or download the dataset again."
        raise DamagedFileError(name, "", f"not UTF-8 ({error})", remedy) from None


def read_texts(contents: Sequence[Data], name: Callable[[int], object]) -> list[str]:
    """As `read_text` for each of many; `name` gives that of a number, where there is an error."""
    try:
        return [str(content, "utf-8") for content in contents]
    except UnicodeDecodeError:
        return [read_text(content, name(i)) for i, content in enumerate(contents)]


MEMBERS: tuple[SampleMember, ...] = (
    SampleMember("npy", lambda triple: npy_bytes(triple.vectors), npy_array, "vectors"),
    # clip-video-encode writes captions as .cap
    SampleMember("txt", lambda triple: triple.text.encode(), read_text, "string", aliases=("cap",), from_sample=True),
    SampleMember("json", lambda triple: canonical_json(triple.meta).encode(), parse_json, "json"),
)
"""In the order of a shard. The first three stay what they are: `TarTriple` has a property for each."""

MARK = "json"
"""The member that is written last where members are files of their own: a sample exists when this one does."""


def extensions() -> tuple[str, ...]:
    """Extensions in the order of a shard."""
    return tuple(member.extension for member in MEMBERS)


def canonical(extension: str) -> str | None:
    """The extension that this one stands for, itself or by alias; None where it is not of a member."""
    for member in MEMBERS:
        if extension == member.extension or extension in member.aliases:
            return member.extension
    return None


def named() -> str:
    """The extensions in words, for messages: `.npy, .txt or .json`."""
    *first, last = (f".{extension}" for extension in extensions())
    return f"{', '.join(first)} or {last}"


def written(triple: Triple) -> tuple[bytes, ...]:
    """The bytes of each member, in the order of a shard."""
    return tuple(member.write(triple) for member in MEMBERS)


def in_order_of_writing(contents: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Extension and bytes of each member, the one that marks a whole sample last."""
    mark = b""
    for member, data in zip(MEMBERS, contents, strict=True):
        if member.extension == MARK:
            mark = data
        else:
            yield member.extension, data
    yield MARK, mark
