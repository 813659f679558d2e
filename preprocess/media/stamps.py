"""What tells whether media changed since it was read: size and modification time of a file, size and ETag of a URL.

>>> media_stamp("/data/msrvtt", "videos/video7010.mp4")
(183412, 1753190000000000000)
>>> media_stamp("", "https://example.org/video7010.mp4")
(183412, '"5f3c-61f0"')
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from preprocess.addresses import refusal, scheme_of
from preprocess.media.fetch import media_location, open_filesystem
from preprocess.references import file_of
from preprocess.samples import is_url
from preprocess.storage import Stamp, fingerprint, fingerprints, location, stamp_of

_AT_ONCE = 32  # requests
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
            return fingerprint(local)
        if refusal(url):
            return None
        filesystem, remote = open_filesystem(url)
        return stamp_of(filesystem.info(remote))
    except Exception:  # every file system has exceptions of its own; reading the file says what is wrong
        return None


def media_stamps(raw: str, media: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of many samples' media now, where they can be known.

    Files below an object store are listed folder by folder; for every other URL its server is asked.
    """
    files = {one: file_of(one) for one in media}
    found = _stamps_of_files(raw, set(files.values()))
    return {one: found[file] for one, file in files.items() if file in found}


def _stamps_of_files(raw: str, wanted: set[str]) -> dict[str, Stamp]:
    if is_url(raw) and scheme_of(raw) in _LISTED:
        listed = {one for one in wanted if not is_url(one)}
        wanted -= listed
        found = _list(location(raw), listed)
    else:
        found = {}
    remote = [one for one in wanted if is_url(one) or is_url(raw)]
    local = wanted.difference(remote)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = zip(remote, pool.map(lambda one: media_stamp(raw, one), remote), strict=True)
        looked_at = ((path, media_stamp(raw, path)) for path in local)
        return found | {one: stamp for one, stamp in (*asked, *looked_at) if stamp is not None}


def _list(root: Path, paths: set[str]) -> dict[str, Stamp]:
    """Stamps of files below a folder of an object store."""
    found = {}
    for folder in {str(PurePosixPath(path).parent) for path in paths}:
        for name, stamp in fingerprints(root if folder == "." else root / folder).items():
            found[str(PurePosixPath(folder, name))] = stamp
    return {path: found[path] for path in paths if path in found}
