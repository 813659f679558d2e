"""Paths and addresses: what `--out` and `--raw` say, as objects with pathlib's methods.

Credentials come from the environment alone (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, HF_TOKEN, …), never from an address.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from preprocess.addresses import check_no_credentials, file_url_path, public_address, refusal, scheme_of
from preprocess.errors import UserError
from preprocess.samples import is_url
from preprocess.storage.stores import not_installed, store_options

_READ_ONLY = frozenset({"http", "https", "hf", "ftp"})


def location(text: str | Path, *, writable: bool = False) -> Path:
    """A path or fsspec URL as an object with pathlib's methods.

    The result for a URL is a `upath.UPath`, which has the methods of `Path` but is not a subclass of it; it is typed as
    one here, so that the rest of the code is written and checked once, against pathlib.

    Args:
        text: A path, or a URL of a protocol in `preprocess.addresses.PROTOCOLS`, or `memory://`.
        writable: Whether files are to be written there.

    Raises:
        UserError: The protocol is not supported, its package is not installed, it cannot be written to, the URL
            contains a user name or password, or the environment lacks credentials.
    """
    if not isinstance(text, str):
        return text
    if not is_url(text):
        return Path(text)
    check_no_credentials(text)
    scheme = scheme_of(text)
    problem = refusal(text) if scheme != "memory" else None
    if problem:
        raise UserError(f"{public_address(text)} is not supported: {problem}", "Give a folder or another address.")
    if writable and scheme in _READ_ONLY:
        raise UserError(f"{public_address(text)} cannot be written to", "Give a folder, s3://…, gs://… or az://…")
    if (local := file_url_path(text)) is not None:
        return local
    try:
        from upath import UPath

        # Listings are never cached: worker processes write files that this process has to see.
        path = UPath(text.rstrip("/"), use_listings_cache=False, **store_options(scheme))
        _ = path.fs
    except ImportError as error:
        raise not_installed(scheme, error) from None
    except Exception as error:  # every file system has exceptions of its own for missing credentials
        raise _cannot_be_used(text, error) from error
    return cast(Path, path)


def output_location(text: str | Path) -> Path:
    """`location` of a folder that is written to."""
    return location(text, writable=True)


def is_remote(path: object) -> bool:
    """Whether a path came from a URL. No path has, as long as upath, which takes long to import, is not imported."""
    if isinstance(path, Path):
        return False
    upath = sys.modules.get("upath")
    return upath is not None and isinstance(path, upath.UPath)


def modules(path: Path) -> tuple[str, ...]:
    """Modules that reading from a path needs, for worker processes to import before their time is measured."""
    return ("upath", type(filesystem_of(path)[0]).__module__) if is_remote(path) else ()


def filesystem_of(path: Path) -> tuple[Any, str]:
    """The fsspec file system of a remote path, and the path in it."""
    upath: Any = path
    return upath.fs, upath.path


@contextmanager
def reaching(path: Path) -> Iterator[None]:
    """Turns an error of an object store into one message with cause and remedy.

    Raises:
        UserError: The bucket does not exist, access is denied, or the store cannot be reached.
    """
    if not is_remote(path):
        yield
        return
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # every file system has exceptions of its own (aiohttp, botocore, OSError, …)
        raise _cannot_be_used(str(path), error) from error


def _cannot_be_used(address: str, error: Exception) -> UserError:
    detail = f": {str(error).splitlines()[0][:200]}" if isinstance(error, OSError) and str(error) else ""
    return UserError(
        f"{public_address(address)} cannot be used ({type(error).__name__}{detail})",
        "Check that the bucket exists, and the credentials and endpoint in the environment.",
    )


def cache_folder(kind: str, address: str) -> Path:
    """A folder of this user for copies of what is at an address; not created here."""
    digest = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:16]
    return Path("~/.cache/video-embedding-datasets").expanduser() / kind / digest
