"""What the files beside a video in a tar say about it: `.txt`, `.json` and `.cls`, as WebDataset has them.

>>> described({".txt": b"a cat jumps\\n", ".json": b'{"fps": NaN, "label": 3}', ".cls": b"cat"}, "0.tar: a")
MediaMetadata(captions=('a cat jumps',), label='cat', split=None, meta={'fps': None})
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import captions_of, own_meta
from preprocess.readers.media_metadata import MediaMetadata
from preprocess.samples import canonical_json
from preprocess.validation import parse_json, shown


def described(texts: Mapping[str, bytes | None], name: str) -> MediaMetadata:
    """The captions, the label and the metadata of a sample.

    A caption in a `.txt` takes precedence over those in the `.json`, and a `.cls` over its label. NaN, which Python
    writes although JSON has none, is read as null.

    Args:
        texts: Content by suffix; None for a file that is too large to be read.
        name: Of the sample, for errors.

    Raises:
        AnnotationError: A file is not what its suffix says.
    """
    row = _object(_text(texts, ".json", name), name)
    if isinstance(row.get("text"), str) and not {"caption", "captions"} & row.keys():
        row["caption"] = row.pop("text")
    captions = captions_of(row, name, ".json")
    own_label = row.pop("label", None)
    if isinstance(own_label, (list, dict)):
        raise AnnotationError(name, ".json", f"label is {shown(own_label)}", "one name or number")
    caption = _text(texts, ".txt", name).strip()
    label = _text(texts, ".cls", name).strip() or ("" if own_label is None else str(own_label).strip())
    return MediaMetadata((caption,) if caption else captions, label or None, None, own_meta(row))


def _text(texts: Mapping[str, bytes | None], suffix: str, name: str) -> str:
    data = texts.get(suffix, b"")
    if data is None:
        raise AnnotationError(name, suffix, "it is larger than any caption or metadata", "a small text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(name, suffix, f"byte {error.start:,} is not UTF-8", "UTF-8") from None


def _object(text: str, name: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=lambda constant: None)
        parse_json(canonical_json(value).encode())  # refuses what could not be written again
    except (ValueError, RecursionError) as error:
        raise AnnotationError(name, ".json", f"not JSON ({' '.join(str(error).split())[:120]})", "one object") from None
    if not isinstance(value, dict):
        raise AnnotationError(name, ".json", f"{shown(value)} is not an object", "one object")
    return value
