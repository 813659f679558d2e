"""The core records: what a recipe yields, what decoding and encoding give, what is reported.

A sample as it stands in `samples.jsonl`:

    {"key": "red_circle_left_003", "split": "train", "media": "train/red_circle_left_003.mp4",
     "captions": ["a red circle moving left"], "label": "red circle", "start_s": null, "end_s": null,
     "meta": {"videoID": "red_circle_left_003"}}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import REASONS, Reason

Split = Literal["train", "val", "test"]
CaptionMode = Literal["first", "concat", "join", "each"]
Stage = Literal["find", "decode", "encode"]

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".3gp"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

SPLITS: tuple[Split, ...] = get_args(Split)
CAPTION_MODES: tuple[CaptionMode, ...] = get_args(CaptionMode)

KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,200}")
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://.+", re.IGNORECASE | re.DOTALL)

JSON = dict[str, Any]


def canonical_json(value: object) -> str:
    """One line of JSON, the same for the same value: UTF-8 as it is, no NaN, key order as given."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def safe_key(name: str) -> str:
    """Turns any name into a key that is safe as a file name and as a WebDataset key.

    A name that had to be changed or shortened gets eight hex digits of its SHA-256 behind it, so that two names that
    look alike once made safe ("a b" and "a.b") stay two keys.

    Examples:
        >>> safe_key("video7010")
        'video7010'
        >>> safe_key("a.b")
        'a_b-2e7336dc'
    """
    if KEY_PATTERN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    stem = _UNSAFE.sub("_", name).strip("_")[:190]
    return f"{stem}-{digest}" if stem else digest


def is_url(media: str) -> bool:
    """True for `scheme://…`, which fsspec opens; everything else is a path below the raw folder."""
    return bool(_URL.fullmatch(media))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Where one raw file comes from.

    Attributes:
        url: Address of the file, or of the page that gives it where it must be asked for.
        path: Where it belongs, below the raw folder.
        sha256: Its checksum where the publisher gives one.
    """

    url: str
    path: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What is known of a dataset before any file is read.

    Attributes:
        name: Name on the command line, equal to the recipe's module name.
        hub_name: Name of the folder and Hub repository, e.g. `CLIP-MSRVTT`.
        license: A licence id that the Hub knows (`other`, `unknown` where there is none).
        citation: BibTeX, or empty where there is nothing to cite (a person's own folder).
        homepage: Address of the source dataset's page, or empty.
        languages: ISO 639-1 codes of the captions.
        task_categories: Task ids of the Hub.
        raw_layout: The tree expected below RAW, shown when it is missing.
        remotes: Where the raw files come from.
        encoder: Model used when none is named.
        caption_mode: How several captions become one text: `first`, `concat`, `join` or `each`.
        split_protocols: Names of the published ways to split; the first is the default.
        media_license: The licence of the videos or images themselves, as an id of the Hub, where it is known: `license`
            often covers the annotations alone. It decides whether frames of them may be published.
    """

    name: str
    hub_name: str
    license: str
    citation: str
    homepage: str
    languages: tuple[str, ...]
    task_categories: tuple[str, ...]
    raw_layout: str
    remotes: tuple[RemoteFile, ...] = ()
    encoder: str = "openai/clip-vit-base-patch32"
    caption_mode: CaptionMode = "first"
    split_protocols: tuple[str, ...] = ()
    media_license: str = "unknown"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"dataset name must be a module name, got {self.name!r}")
        if not HUB_NAME.fullmatch(self.hub_name):
            raise ValueError(f"hub_name must be a repository name, got {self.hub_name!r}")
        if self.caption_mode not in CAPTION_MODES:
            raise ValueError(f"caption_mode must be one of {CAPTION_MODES}, got {self.caption_mode!r}")


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """What a person may choose about a recipe; a recipe ignores what does not concern it.

    Attributes:
        split: Shares of train, val and test, where the raw data gives no split.
        seed: Seed of that split.
        split_protocol: One of the spec's `split_protocols`, or None for the first.
    """

    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    split_protocol: str | None = None

    def __post_init__(self) -> None:
        if len(self.split) != 3 or min(self.split) < 0 or not math.isclose(sum(self.split), 1.0, abs_tol=1e-6):
            raise ValueError(f"split must be three shares that sum to 1, got {self.split!r}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One video or image and what is known of it, before anything is decoded.

    Attributes:
        key: `[A-Za-z0-9_-]{1,200}`, unique in the dataset.
        split: `train`, `val` or `test`.
        media: POSIX path below the raw folder, or a URL.
        captions: At least one, none empty.
        label: Class name, or None for datasets without classes.
        start_s: First second of the part of the file to use, or None for its beginning.
        end_s: Where that part ends, exclusive, or None for the end of the file.
        meta: JSON of the recipe. `videoID`, `start_time`, `end_time` and `source` given here replace what would be
            derived (key, window, media).
    """

    key: str
    split: Split
    media: str
    captions: tuple[str, ...]
    label: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not KEY_PATTERN.fullmatch(self.key):
            raise ValueError(f"key must match {KEY_PATTERN.pattern}, got {self.key!r}")
        if self.split not in SPLITS:
            raise ValueError(f"split of {self.key!r} must be one of {SPLITS}, got {self.split!r}")
        if not is_url(self.media):
            path = PurePosixPath(self.media)
            if not self.media or path.is_absolute() or ".." in path.parts or "\0" in self.media:
                raise ValueError(f"media of {self.key!r} must be a path below the raw folder, got {self.media!r}")
        if not self.captions or not all(isinstance(c, str) and c.strip() for c in self.captions):
            raise ValueError(f"captions of {self.key!r} must be non-empty strings, got {self.captions!r}")
        if self.label is not None and not self.label.strip():
            raise ValueError(f"label of {self.key!r} must not be empty, got {self.label!r}")
        start = 0.0 if self.start_s is None else self.start_s
        end = math.inf if self.end_s is None else self.end_s
        if not (math.isfinite(start) and 0 <= start < end) or math.isnan(end):
            raise ValueError(
                f"window of {self.key!r} must be 0 <= start_s < end_s, got {self.start_s!r}, {self.end_s!r}"
            )

    def to_json(self) -> JSON:
        """The line of `samples.jsonl`, as a dict in the order of the fields."""
        return {
            "key": self.key,
            "split": self.split,
            "media": self.media,
            "captions": list(self.captions),
            "label": self.label,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "meta": dict(self.meta),
        }

    @classmethod
    def from_json(cls, row: JSON) -> Sample:
        """The inverse of `to_json`; validates as the constructor does."""
        return cls(**{**row, "captions": tuple(row["captions"])})


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the model's own image processor does to an image, read from its preprocessor config.

    Attributes:
        shortest_edge: Length in pixels to which the shorter side is resized (bicubic, antialiased, on uint8).
        crop: Height and width in pixels of the centre crop.
        mean: Per channel, of pixels scaled to 0…1.
        std: Per channel, likewise.
    """

    shortest_edge: int
    crop: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Frames:
    """Decoded frames of one video or image.

    Attributes:
        pixels: uint8 `(T, H, W, 3)`, RGB.
        timestamps_s: float64 `(T,)`, increasing: the time each row was sampled at, in seconds from the first
            frame of the file. `pixels[i]` is the frame on screen at `timestamps_s[i]`.
    """

    pixels: NDArray[np.uint8]
    timestamps_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] != 3:
            raise ValueError(f"pixels must be uint8 (T, H, W, 3), got {self.pixels.dtype} {self.pixels.shape = }")
        if self.timestamps_s.shape != self.pixels.shape[:1]:
            raise ValueError(f"one timestamp per frame, got {self.timestamps_s.shape = }, {self.pixels.shape = }")
        if np.any(np.diff(self.timestamps_s) <= 0):
            raise ValueError(f"timestamps must increase, got {self.timestamps_s!r}")


@dataclass(frozen=True, slots=True)
class Triple:
    """What is kept of one sample: the vectors, one text, one JSON object.

    Attributes:
        key: As in the sample.
        vectors: float16 or float32 `(T, D)`.
        text: The caption, by the caption mode.
        meta: The JSON object; see `preprocess.formats.triples.META_KEYS` for the keys that are always there.
    """

    key: str
    vectors: NDArray[np.floating[Any]]
    text: str
    meta: JSON

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype not in (np.float16, np.float32):
            raise ValueError(
                f"vectors of {self.key!r} must be float16 or float32 (T, D), "
                f"got {self.vectors.dtype} {self.vectors.shape = }"
            )


@dataclass(frozen=True, slots=True)
class Reject:
    """A sample that could not be used, and why: one line of `rejects.jsonl`.

    Attributes:
        stage: `find`, `decode` or `encode`.
        reason: One of `preprocess.errors.REASONS`.
        message: For a person; no host paths, so that it can be published.
    """

    key: str
    split: Split
    stage: Stage
    reason: Reason
    message: str

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason must be one of {REASONS}, got {self.reason!r}")

    def to_json(self) -> JSON:
        """The line of `rejects.jsonl`, as a dict."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What encoding did. `seconds` is wall time; `written` counts this run, `kept` what earlier runs had done."""

    written: int
    kept: int
    frames: int
    bytes: int
    rejects: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class ShardReport:
    """One shard, as it stands in the manifest: file name, split, and what is in it."""

    file: str
    split: Split
    samples: int
    frames: int
    bytes: int
    sha256: str
