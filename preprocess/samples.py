"""The core records: what a recipe yields, what decoding and encoding give, what is reported.

A sample in `samples.jsonl`:

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
Stage = Literal["list", "find", "decode", "encode"]
Interpolation = Literal["bicubic", "bilinear"]

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".3gp"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

SPLITS: tuple[Split, ...] = get_args(Split)
CAPTION_MODES: tuple[CaptionMode, ...] = get_args(CaptionMode)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)

DEFAULT_ENCODER = "openai/clip-vit-base-patch32"

KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,200}")
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://.+", re.IGNORECASE | re.DOTALL)

JSON = dict[str, Any]
Pixels = NDArray[Any]
"""Frames: uint8, or float32 where a model's preprocessing scales before it resizes."""


_CANONICAL = json.JSONEncoder(ensure_ascii=False, allow_nan=False)  # json.dumps would make one for each call


def canonical_json(value: object) -> str:
    """One line of JSON, the same for the same value: UTF-8 as it is, no NaN, key order as given."""
    return _CANONICAL.encode(value)


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
    return "://" in media and bool(_URL.fullmatch(media))  # per sample, and most are paths


RemoteKind = Literal["file", "archive", "list", "page"]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Where one raw file, or one folder of them, comes from.

    Attributes:
        url: An http or https address: of the file itself, or of a page.
        path: Where it belongs, below the raw folder; a folder ends in `/`.
        sha256: Its checksum where the publisher gives one.
        kind: What is at the address: the `file`; an `archive` (zip or tar) to unpack; a `list` of the addresses of
            archives, one per line; or a `page`, from which the user downloads it.
        into: For archives, the folder below the raw folder that they are unpacked into; empty for that folder itself.
        gives: Patterns (`fnmatch`, alternatives separated by `|`) of the files that show that it is there, each found
            at least once: of a name, or, with a `/`, of the end of a path. Empty: the file's own name; for a folder,
            any video or image.
        how: For pages, what the user has to do there.
        terms: License or terms of use, where they are not those of the dataset.
        md5: As `sha256`, where the publisher gives nothing better.
    """

    url: str
    path: str
    sha256: str | None = None
    kind: RemoteKind = "file"
    into: str = ""
    gives: tuple[str, ...] = ()
    how: str = ""
    terms: str = ""
    md5: str | None = None

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/@\s]+/", self.url):
            raise ValueError(f"url must be an http or https address, got {self.url!r}")
        for path in (self.path, self.into):
            if path.startswith("/") or ".." in PurePosixPath(path).parts:
                raise ValueError(f"path must be below the raw folder, got {path!r}")
        if self.kind not in get_args(RemoteKind):
            raise ValueError(f"kind must be one of {get_args(RemoteKind)}, got {self.kind!r}")
        if self.kind == "file" and self.path.endswith("/"):
            raise ValueError(f"a file must have a name, got the folder {self.path!r}")
        if (self.kind == "page") != bool(self.how):
            raise ValueError(f"a page, and nothing else, must say how to obtain {self.path!r}, got {self.how!r}")


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What is known of a dataset before any file is read.

    Attributes:
        name: Name on the command line, equal to the recipe's module name.
        title: Name of the dataset in the name of the folder and Hub repository: `MSRVTT` in `CLIP-MSRVTT`.
        license: A license id that the Hub knows (`other`, `unknown` where there is none).
        citation: BibTeX, or empty where there is nothing to cite (the user's own folder).
        homepage: Address of the source dataset's page, or empty.
        languages: ISO 639-1 codes of the captions.
        task_categories: Task ids of the Hub.
        raw_layout: The tree expected below RAW, shown when it is missing.
        remotes: Where the raw files come from.
        encoder: Model used when none is named.
        caption_mode: How several captions become one text: `first`, `concat`, `join` or `each`.
        split_protocols: Names of the published ways to split; the first is the default.
        media_license: The license of the videos or images themselves, as an id of the Hub, where it is known: `license`
            often covers the annotations alone. It decides whether frames of them may be published.
        annotations_creators: How labels and captions were assigned, as ids of the Hub (`crowdsourced`,
            `expert-generated`, `machine-generated`, `found`, `no-annotation`); empty if unknown.
        language_creators: How the text was written, likewise; empty too where the texts are names of classes.
    """

    name: str
    title: str
    license: str
    citation: str
    homepage: str
    languages: tuple[str, ...]
    task_categories: tuple[str, ...]
    raw_layout: str
    remotes: tuple[RemoteFile, ...] = ()
    encoder: str = DEFAULT_ENCODER
    caption_mode: CaptionMode = "first"
    split_protocols: tuple[str, ...] = ()
    media_license: str = "unknown"
    annotations_creators: tuple[str, ...] = ()
    language_creators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"dataset name must be a module name, got {self.name!r}")
        if not HUB_NAME.fullmatch(self.title):
            raise ValueError(f"title must be usable in a repository name, got {self.title!r}")
        if self.caption_mode not in CAPTION_MODES:
            raise ValueError(f"caption_mode must be one of {CAPTION_MODES}, got {self.caption_mode!r}")


def dataset_name(family_title: str, title: str) -> str:
    """Name of the folder and Hub repository of a dataset encoded by one family of models.

    Examples:
        >>> dataset_name("SigLIP2", "MSRVTT")
        'SigLIP2-MSRVTT'
    """
    return f"{family_title}-{title}"


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """What the user may choose about a recipe; a recipe ignores what does not concern it.

    Attributes:
        split: Shares of train, val and test, where the raw data gives no split.
        seed: Seed of that split.
        split_protocol: One of the spec's `split_protocols`, or None for the first.
        columns: For `table`: which column holds the `url`, `id`, `caption`, `label`, `split`, `start` or `end`. For
            `hub`: the `url` (the videos or images), `id`, `caption` or `label`.
        config: For `hub`: the configuration (subset) of the dataset, or None for its only or default one.
    """

    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    split_protocol: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None

    def __post_init__(self) -> None:
        if len(self.split) != 3 or min(self.split) < 0 or not math.isclose(sum(self.split), 1.0, abs_tol=1e-6):
            raise ValueError(f"split must be three shares that sum to 1, got {self.split!r}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One video or image and what is known of it, before anything is decoded.

    Attributes:
        key: `[A-Za-z0-9_-]{1,200}`, unique in the dataset.
        split: `train`, `val` or `test`.
        media: POSIX path below the raw folder, or a URL; or a part of that file, see `preprocess.references`.
        captions: At least one, none empty.
        label: Class name, or None for datasets without classes.
        start_s: First second of the part of the file to use, or None for its beginning.
        end_s: Where that part ends, exclusive, or None for the end of the file.
        own_times: The part is given by the times of its first frame and of the first frame behind it, as in LeRobot's
            datasets, and rows are at the frames' own times; see `preprocess.media.sampling.wanted_frames`.
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
    own_times: bool = False

    def __post_init__(self) -> None:
        if not KEY_PATTERN.fullmatch(self.key):
            raise ValueError(f"key must match {KEY_PATTERN.pattern}, got {self.key!r}")
        if self.split not in SPLITS:
            raise ValueError(f"split of {self.key!r} must be one of {SPLITS}, got {self.split!r}")
        if not is_url(self.media):
            absolute, parts = self.media.startswith("/"), self.media.split("/")  # for each sample; pathlib is slow
            if not self.media or absolute or ".." in parts or "\0" in self.media:
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
            **({"own_times": True} if self.own_times else {}),
        }

    @classmethod
    def from_json(cls, row: JSON) -> Sample:
        """The inverse of `to_json`; validates as the constructor does."""
        return cls(**{**row, "captions": tuple(row["captions"])})


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the model's own image processor does to an image: resize, crop, scale, normalize.

    Either `shortest_edge` and `crop` or `size` is given, so that every frame comes out with one height and width.

    Attributes:
        shortest_edge: Pixels to which the shorter side is resized, or None where `size` says both sides.
        crop: Height and width in pixels of the center crop, or None for no crop.
        mean: Per channel, of pixels scaled by `rescale_factor`.
        std: Per channel, likewise.
        size: Height and width in pixels to which the image is resized, whatever its aspect ratio, or None.
        interpolation: Of the resize, which is antialiased.
        rescale_first: Pixels become floats before the resize instead of after it; then frames are float32.
        rescale_factor: What a pixel of 0 to 255 is multiplied by.
    """

    shortest_edge: int | None
    crop: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int] | None = None
    interpolation: Interpolation = "bicubic"
    rescale_first: bool = False
    rescale_factor: float = 1 / 255

    def __post_init__(self) -> None:
        if (self.shortest_edge is None) == (self.size is None):
            raise ValueError(f"either shortest_edge or size must be given, got {self.shortest_edge!r}, {self.size!r}")
        if self.shortest_edge is not None and self.crop is None:
            raise ValueError(f"frames of one size need a crop behind shortest_edge {self.shortest_edge!r}")
        if min(self.shortest_edge or 1, *(self.crop or (1,)), *(self.size or (1,))) < 1:
            raise ValueError(f"sizes must be positive, got {self.shortest_edge!r}, {self.crop!r}, {self.size!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {INTERPOLATIONS}, got {self.interpolation!r}")
        if not self.rescale_factor > 0 or min(self.std) <= 0:
            raise ValueError(f"rescale_factor and std must be positive, got {self.rescale_factor!r}, {self.std!r}")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels of every frame that comes out."""
        size = self.crop or self.size
        assert size is not None
        return size

    @property
    def frame_dtype(self) -> type[np.uint8] | type[np.float32]:
        """Type of the frames that come out; normalizing them is left to the encoder."""
        return np.float32 if self.rescale_first else np.uint8

    def to_json(self) -> JSON:
        """As written to the manifest: fields that have their default are left out, tuples are lists."""
        found = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        kept = {name: value for name, (value, default) in found.items() if value is not None and value != default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

    @classmethod
    def from_json(cls, row: JSON) -> Preprocessing:
        """The inverse of `to_json`; validates as the constructor does."""
        values: JSON = {"shortest_edge": None, "crop": None, **row}
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Frames:
    """Decoded frames of one video or image.

    Attributes:
        pixels: `(T, H, W, 3)`, RGB; uint8, or float32 where preprocessing scales before it resizes.
        timestamps_s: float64 `(T,)`, increasing: the time each row was sampled at, in seconds from the first
            frame of the file. `pixels[i]` is the frame on screen at `timestamps_s[i]`.
    """

    pixels: Pixels
    timestamps_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.pixels.dtype not in (np.uint8, np.float32) or self.pixels.ndim != 4 or self.pixels.shape[3] != 3:
            raise ValueError(
                f"pixels must be uint8 or float32 (T, H, W, 3), got {self.pixels.dtype} {self.pixels.shape = }"
            )
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
        message: For the user; no host paths, so that it can be published.
        attempts: Runs that tried it, in the ledger of a build; what is published does not depend on how often.
    """

    key: str
    split: Split
    stage: Stage
    reason: Reason
    message: str
    attempts: int = 1

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason must be one of {REASONS}, got {self.reason!r}")

    def to_json(self) -> JSON:
        """The line of the ledger, as a dict."""
        return dataclasses.asdict(self)

    def published(self) -> JSON:
        """The line of the dataset's `rejects.jsonl`, as a dict."""
        return {key: value for key, value in self.to_json().items() if key != "attempts"}


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What encoding did.

    Attributes:
        written: Triples of this run.
        changed: Samples that were tried again in this run because their raw files were replaced.
        kept: Triples of earlier runs.
        seconds: Wall time.
    """

    written: int
    changed: int
    kept: int
    frames: int
    bytes: int
    rejects: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class ShardReport:
    """One shard, as listed in the manifest: file name, split, and what is in it."""

    file: str
    split: Split
    samples: int
    frames: int
    bytes: int
    sha256: str
