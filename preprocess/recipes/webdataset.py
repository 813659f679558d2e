"""`webdataset`: tars of videos or images, as video2dataset, img2dataset and `webdataset.TarWriter` write them.

    RAW=shards                          a folder: every .tar in it; or an address, s3://… or hf://datasets/org/name
    RAW=s3://bucket/{00000..00012}.tar  these tars; also https://…, {train,val}-{0..9}.tar

    00000.tar:  000000012.mp4  000000012.txt  000000012.json      a video, its caption, its metadata

No tar is unpacked: a sample names a range of bytes, from which its video is decoded. A damaged tar gives the samples
before the damage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from preprocess.addresses import public_address, scheme_of
from preprocess.errors import AnnotationError, DamagedFileError, RawDataError, Reason
from preprocess.formats.media_tars import TarSample, media_by_stem, read_media_tar
from preprocess.readers.annotations import words
from preprocess.readers.entries import EntryFile
from preprocess.readers.files import RawFiles, raw_data_error
from preprocess.readers.media_metadata import MediaMetadata
from preprocess.readers.sample_texts import described
from preprocess.readers.splits import hash_split, in_order, split_in_name
from preprocess.references import ByteRange
from preprocess.samples import JSON, DatasetSpec, RecipeOptions, Reject, Sample, Split, safe_key
from preprocess.storage import base_folder, expand_braces, is_remote, location, reaching

SPEC = DatasetSpec(
    name="webdataset",
    title="WebDataset",
    license="unknown",
    citation="",
    homepage="",
    languages=(),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW is a folder, or one or more tars: shards/, s3://bucket/{00000..00012}.tar, https://example.org/0.tar
└── 00000.tar
    ├── 000000012.mp4     any video or image; several of one sample as 000000012.left.mp4, 000000012.right.mp4
    ├── 000000012.txt     optional: its caption
    ├── 000000012.json    optional: its metadata, one object; caption, captions and label are known
    └── 000000012.cls     optional: its class
A word in the path of a tar may name its split: train-{000..099}.tar, val/0.tar
""",
)

_AT_ONCE = 8  # tars that are listed from a server

_Listed = tuple[list[TarSample], DamagedFileError | FileNotFoundError | None]


@dataclass(frozen=True, slots=True)
class Tar:
    """One tar.

    Attributes:
        place: Where it is read.
        media: What samples call it: its path below the raw folder, or its URL.
        split: Of all its samples, or None.
    """

    place: Path
    media: str
    split: Split | None

    @property
    def shown(self) -> str:
        """What may be published of its path or URL."""
        return public_address(self.media)


class _Entry(NamedTuple):
    """A video or image in a tar, and what is said about it.

    Attributes:
        tar: Number of the tar.
        key: Of the members that belong together.
        stem: Of the video or image: `a.left` for `a.left.mp4` of the key `a`.
        name: Of its member, with its folders.
        start, end: Its bytes in the tar, as in `TarMedia`.
        captions, label, meta: As in `MediaMetadata`.
    """

    tar: int
    key: str
    stem: str
    name: str
    start: int
    end: int
    captions: Sequence[str]
    label: str | None
    meta: JSON


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample | Reject]:
    """One sample per video or image in the tars."""
    yield from tar_entries(_tars(raw), options, SPEC)


def tar_entries(tars: Sequence[Tar], options: RecipeOptions, spec: DatasetSpec) -> Iterator[Sample | Reject]:
    """The samples of some tars, and what could not be read of them.

    Raises:
        RawDataError: None of them is there, or none holds a video or image.
    """
    found = EntryFile(_Entry)
    columns: set[str] = set()
    rejects: list[Reject] = []
    missing = 0
    for number, (tar, (listed, damage)) in enumerate(zip(tars, _each_listed(tars), strict=True)):
        if damage is not None:
            missing += isinstance(damage, FileNotFoundError)
            rejects.append(_damaged_tar(tar, damage, options))
        for sample in listed:
            for entry in _entries(number, tar, sample, options):
                if isinstance(entry, Reject):
                    rejects.append(entry)
                else:
                    found.add(entry.stem, entry)
                    columns.update(entry.meta)
    if not found:
        why = "do not exist" if missing == len(tars) else "hold no videos or images that can be read"
        raise raw_data_error(spec, f"{len(tars)} tars {why}: {_first_names(tars)}")
    names = sorted(columns)

    def sample_of(entry: _Entry) -> Sample:
        tar, stem = tars[entry.tar], entry.stem
        folder = f"{tar.shown}/" if found.is_repeated(stem) else ""  # where two tars have the same names
        own = {name: entry.meta.get(name) for name in names}  # the same keys in every sample
        source = own.pop("source", None) or f"{tar.shown}/{entry.name}"
        return Sample(
            key=safe_key(folder + stem),
            split=tar.split or hash_split(folder + entry.key, options),
            media=ByteRange(entry.start, entry.end, entry.name.rpartition("/")[2]).of(tar.media),
            captions=tuple(entry.captions) or (words(entry.label or stem),),
            label=entry.label,
            meta={"videoID": stem, **own, "source": source},
        )

    yield from in_order(map(sample_of, found))
    yield from rejects


def _tars(raw: Path) -> list[Tar]:
    """The tars that RAW names. Those of a web server are known by their URL, others by their path below the folder."""
    folder = base_folder(raw)
    if folder == raw:
        paths = list(RawFiles.list(raw, SPEC, (".tar",)).media((".tar",)))
        if not paths:
            raise RawFiles.list(raw, SPEC).lacks("*.tar")
        found = [(raw / path, path) for path in paths]
    else:
        names = expand_braces(str(raw))
        places = [location(name) for name in names]
        if len(names) == 1 and (not raw.name.partition("?")[0].lower().endswith(".tar") or not _exists(raw)):
            shown = public_address(str(raw))
            raise raw_data_error(SPEC, f"{shown} {'is not a folder or a .tar' if _exists(raw) else 'does not exist'}")
        web = scheme_of(names[0]) in ("http", "https")
        start = len(str(folder).rstrip("/")) + 1
        found = [(place, name if web else str(place)[start:]) for place, name in zip(places, names, strict=True)]
    splits = [split_in_name(public_address(media)) for _, media in found]
    stray = next((media for (_, media), split in zip(found, splits, strict=True) if any(splits) and not split), None)
    if stray is not None:
        known = next(public_address(media) for (_, media), split in zip(found, splits, strict=True) if split)
        raise RawDataError(
            f"{public_address(stray)} names no split, but {known} does", "Rename one of them, or build them one by one."
        )
    return [Tar(place, media, split) for (place, media), split in zip(found, splits, strict=True)]


def _exists(path: Path) -> bool:
    with reaching(path):
        return path.exists()


def _each_listed(tars: Sequence[Tar]) -> Iterator[_Listed]:
    """What is in each tar; those of a server are listed together, few of them ahead of what is taken."""
    if not any(is_remote(tar.place) for tar in tars):
        yield from map(_listed, tars)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ahead: deque[Future[_Listed]] = deque()
        for tar in tars:
            ahead.append(pool.submit(_listed, tar))
            if len(ahead) == 2 * _AT_ONCE:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _listed(tar: Tar) -> _Listed:
    with reaching(tar.place):
        try:
            return read_media_tar(tar.place, name=tar.shown)
        except FileNotFoundError as error:
            return [], error


def _entries(number: int, tar: Tar, sample: TarSample, options: RecipeOptions) -> Iterator[_Entry | Reject]:
    """The media of one sample, with what is said of them; each that cannot be used as a Reject."""
    name = f"{tar.shown}/{sample.key}"
    try:
        said = described(sample.texts, name)
        problem = (
            "" if sample.whole else f"{name}: what is said about it lies behind the place where the tar is damaged"
        )
    except AnnotationError as error:
        said, problem = MediaMetadata(), str(error)
    for stem, (first, *others) in media_by_stem(sample).items():
        for one in others:
            yield _reject(f"{tar.shown}/{one.name}", tar, "duplicate", f"{tar.shown} has {first.name} too", options)
        if problem or first.start == first.end:
            message = problem or f"{tar.shown}/{first.name} is empty"
            yield _reject(f"{tar.shown}/{first.name}", tar, "unreadable", message, options)
        else:
            yield _Entry(
                number, sample.key, stem, first.name, first.start, first.end, said.captions, said.label, dict(said.meta)
            )


def _damaged_tar(tar: Tar, damage: DamagedFileError | FileNotFoundError, options: RecipeOptions) -> Reject:
    if isinstance(damage, FileNotFoundError):
        return _reject(tar.shown, tar, "missing", f"{tar.shown} does not exist", options)
    return _reject(tar.shown, tar, "unreadable", f"{damage.cause}; what lies behind it is lost", options)


def _reject(name: str, tar: Tar, reason: Reason, message: str, options: RecipeOptions) -> Reject:
    return Reject(safe_key(name), tar.split or hash_split(name, options), "list", reason, message)


def _first_names(tars: Sequence[Tar]) -> str:
    names = [tar.shown for tar in tars[:3]]
    return ", ".join(names) + (", …" if len(tars) > 3 else "")
