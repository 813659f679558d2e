"""What tells whether media changed since it was read: size and modification time of a file, size and ETag of a URL.

>>> media_stamp("/data/msrvtt", "videos/video7010.mp4")
(183412, 1753190000000000000)
>>> media_stamp("", "https://example.org/video7010.mp4")
(183412, '"5f3c-61f0"')
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.addresses import refusal, scheme_of
from preprocess.batched import batched
from preprocess.media.fetch import media_location, open_filesystem
from preprocess.numbered_lines import NumberedLines
from preprocess.references import file_of
from preprocess.sample_table import media_of, taken
from preprocess.samples import Sample, canonical_json, is_url
from preprocess.storage import Stamp, fingerprints, local_fingerprint, location, stamp_of

_AT_ONCE = 32  # requests
_ASKED = 16_384  # samples whose servers are asked together
_REMEMBERED = 65_536  # files of several samples, such as tars, that are asked for once
_LISTED = frozenset({"s3", "gs", "gcs", "az", "abfs", "memory"})
"""Protocols whose listings say of a file what a request for it says."""


def media_stamp(raw: str, media: str) -> Stamp | None:
    """The stamp of one sample's media now; None where it cannot be known: there is no such file, or no answer.

    Of a part of a file (a member of a tar, a cell), it is the stamp of the file.

    Args:
        raw: The raw folder, as a path or URL.
        media: POSIX path below `raw`, or a URL of its own; a URL takes one request.
    """
    try:
        local, url = media_location(raw, file_of(media))
        if local is not None:
            return local_fingerprint(local)
        if refusal(url):
            return None
        filesystem, remote = open_filesystem(url)
        return stamp_of(filesystem.info(remote))
    except Exception:  # every file system has exceptions of its own; reading the file says what is wrong
        return None


class MediaStamps:
    """The stamps of the media of a build before it runs, by number of the sample.

    A file of this machine is looked at when it is asked for. Files below an object store are listed folder by folder
    at once, those of other servers are asked for by `ask`; what they say is in a temporary file.

    Args:
        raw: The raw folder, as a path or URL.
        samples: Of the build.
    """

    def __init__(self, raw: str, samples: Sequence[Sample]) -> None:
        self._raw = raw
        self._samples = samples
        self._said: NumberedLines | None = None
        self._listed = is_url(raw) and scheme_of(raw) in _LISTED
        if self._listed:
            self._list()

    def of(self, numbers: NDArray[np.integer[Any]]) -> list[Stamp | None]:
        """The stamps of the media of some samples; None where it is unknown."""
        said = self._said.read(numbers) if self._said else [None] * len(numbers)
        files = self._files(numbers)
        return [
            _stamp(line) if self._is_remote(file) else media_stamp(self._raw, file)
            for file, line in zip(files, said, strict=True)
        ]

    def ask(self, known: Callable[[NDArray[np.int64]], Iterable[object]]) -> None:
        """Asks the servers of media that is neither local nor in a listing.

        Args:
            known: Tells of some samples whether a server could say that their media changed: whether it said before
                which state it is in.
        """
        stamp_of_file = functools.lru_cache(_REMEMBERED)(functools.partial(media_stamp, self._raw))
        files = enumerate(file_of(media) for _, media in media_of(self._samples))
        remote = ((number, file) for number, file in files if self._is_asked(file))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for block in batched(remote, _ASKED):
                can_tell = known(np.array([number for number, _ in block]))
                asked = [pair for pair, tells in zip(block, can_tell, strict=True) if tells]
                wanted = list(dict.fromkeys(file for _, file in asked))
                stamps = dict(zip(wanted, pool.map(stamp_of_file, wanted), strict=True))
                self._note((number, stamps[file]) for number, file in asked)

    def _list(self) -> None:
        """Notes what the listings say of the files below the raw folder."""
        codes: dict[str, int] = {}
        files = (file_of(media) for _, media in media_of(self._samples))
        folders = ("" if is_url(file) else f"/{file.rpartition('/')[0]}" for file in files)
        code_of = np.fromiter((codes.setdefault(one, len(codes)) for one in folders), np.uint32, len(self._samples))
        order = code_of.argsort(kind="stable")
        ends = code_of[order].searchsorted(np.arange(len(codes)), side="right")
        root = location(self._raw)
        for folder, numbers in zip(codes, np.split(order, ends[:-1]), strict=True):
            if folder:
                listed = fingerprints(root / folder[1:] if folder[1:] else root)
                for block in np.split(numbers, range(_ASKED, len(numbers), _ASKED)):
                    names = (file.rpartition("/")[2] for file in self._files(block))
                    self._note(zip(block.tolist(), map(listed.get, names), strict=True))

    def _note(self, stamps: Iterable[tuple[int, Stamp | None]]) -> None:
        self._said = self._said or NumberedLines(len(self._samples))
        for number, stamp in stamps:
            if stamp is not None:
                self._said.put(number, f"{canonical_json(stamp)}\n".encode())

    def _files(self, numbers: NDArray[np.integer[Any]]) -> Iterator[str]:
        return (file_of(media) for _, media in media_of(taken(self._samples, numbers)))

    def _is_remote(self, file: str) -> bool:
        return is_url(self._raw) or is_url(file)

    def _is_asked(self, file: str) -> bool:
        return self._is_remote(file) and (is_url(file) or not self._listed)


def _stamp(line: bytes | None) -> Stamp | None:
    if line is None:
        return None
    size, tag = json.loads(line)
    return size, tag
