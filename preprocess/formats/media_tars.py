"""The samples of a tar of media, as video2dataset, img2dataset and `webdataset.TarWriter` write them.

    00000.tar:  000000000.mp4  000000000.txt  000000000.json      one sample: a video and what is said about it
                000000001.mp4  000000001.txt  000000001.json

Only headers and the small files beside the media are read: of a video, its place in the tar is noted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from preprocess.errors import DamagedFileError
from preprocess.formats.tar import Source, iter_members
from preprocess.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES

TEXT_SUFFIXES = frozenset({".txt", ".json", ".cls"})
"""What is said about the media: a caption, metadata, a class."""

MAX_TEXT_BYTES = 16 << 20
"""Larger files of these are not read."""


@dataclass(frozen=True, slots=True)
class TarMedia:
    """A video or image in a tar.

    Attributes:
        name: Of the member, with its folders.
        start, end: First byte in the tar, and the byte behind the last.
    """

    name: str
    start: int
    end: int

    @property
    def suffix(self) -> str:
        """As that of a path, in lower case."""
        return _suffix(self.name)


@dataclass(slots=True)
class TarSample:
    """The members of a tar that have the same name before the first dot.

    Attributes:
        key: That name, with its folders.
        media: In the order of the tar.
        texts: Content by suffix; None where it is larger than `MAX_TEXT_BYTES`.
        whole: False where the tar is damaged behind it and a part that other samples have is not there.
    """

    key: str
    media: list[TarMedia] = field(default_factory=list)
    texts: dict[str, bytes | None] = field(default_factory=dict)
    whole: bool = True

    @property
    def suffixes(self) -> frozenset[str]:
        """Of its members."""
        return frozenset(self.texts) | {one.suffix for one in self.media}


def read_media_tar(source: Source, *, name: object = None) -> tuple[list[TarSample], DamagedFileError | None]:
    """The samples of a tar in its order, and what is wrong with it: then what lies behind that place is not among them.

    Args:
        source: As of `iter_members`. Of a stream that can seek, the bytes of media are not read.
        name: What to call the tar in errors.
    """
    found: dict[str, TarSample] = {}
    last = ""
    try:
        for member, data, offset, size in iter_members(source, name=name, folders=True, wanted=_is_text):
            folder, slash, file = member.rpartition("/")
            stem, dot, _ = file.partition(".")
            suffix = _suffix(member)
            is_text = suffix in TEXT_SUFFIXES
            if not (stem and dot and (is_text or suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES)):
                continue
            last = folder + slash + stem
            sample = found.setdefault(last, TarSample(last))
            if not is_text:
                sample.media.append(TarMedia(member, offset, offset + size))
            elif file == stem + dot + file.rpartition(".")[2]:  # of `a.left.txt`, no sample is known
                sample.texts[suffix] = bytes(data) if size <= MAX_TEXT_BYTES else None
    except DamagedFileError as damage:
        usual = next(iter(found.values())).suffixes if found else frozenset()
        if last:
            found[last].whole = found[last].suffixes >= usual
        return list(found.values()), damage
    return list(found.values()), None


def media_by_stem(sample: TarSample) -> dict[str, list[TarMedia]]:
    """The media of a sample by their name without the suffix; `a.left.mp4` and `a.right.mp4` are two.

    An image beside a video of the same name is its preview, and left out.
    """
    found: dict[str, list[TarMedia]] = {}
    for one in sample.media:
        found.setdefault(one.name[: -len(one.suffix)], []).append(one)
    videos = {stem: [one for one in media if one.suffix in VIDEO_SUFFIXES] for stem, media in found.items()}
    return {stem: videos[stem] or media for stem, media in found.items()}


def _is_text(name: str, size: int) -> bool:
    return _suffix(name) in TEXT_SUFFIXES and size <= MAX_TEXT_BYTES


def _suffix(name: str) -> str:
    _, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return (dot + suffix).lower()
