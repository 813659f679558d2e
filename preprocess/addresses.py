"""Addresses (URLs) of files and folders: which kinds are opened, and what of one may be shown.

>>> public_address("https://me:secret@host.org/a.mp4?X-Amz-Signature=1f2e#t=3")
'https://host.org/a.mp4'
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from preprocess.errors import UserError
from preprocess.samples import is_url

PROTOCOLS = frozenset({"file", "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "hf", "ftp"})
"""What addresses may begin with. fsspec knows more, among them some that read instructions from the file they open."""

_LOCAL_SCHEMES = frozenset({"file", "local"})
_USER_IN_ADDRESS = frozenset({"http", "https", "ftp"})  # abfs:// has the container before the @


def scheme_of(address: str) -> str:
    """`s3` of `s3://bucket/a.mp4`, in lower case."""
    return address.partition("://")[0].lower()


def public_address(address: str) -> str:
    """What may be logged or published of an address or path: no host path, user, password, query or fragment.

    Every message, report and metadata field that names a URL goes through this function.

    Examples:
        >>> public_address("videos/a.mp4")
        'videos/a.mp4'
        >>> public_address("https://me:secret@host.org/a.mp4?X-Amz-Signature=1f2e#t=3")
        'https://host.org/a.mp4'
        >>> public_address("file:///home/me/a.mp4")
        'a.mp4'
    """
    if not is_url(address):
        return address
    # Of a chain of file systems ("zip://a.mp4::file:///home/me/x.zip") only the first names the file.
    scheme, rest = scheme_of(address), address.partition("::")[0].partition("://")[2]
    if scheme in _LOCAL_SCHEMES:
        return rest.replace("\\", "/").rpartition("/")[2]
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def file_url_path(address: str) -> Path | None:
    """The path of a `file://` URL, percent-encoded or not; None for any other address."""
    if scheme_of(address) != "file" or not is_url(address):
        return None
    path = Path(address[len("file://") :])
    return path if path.exists() else Path(unquote(str(path)))


def refusal(address: str) -> str | None:
    """Why an address is not opened, or None: chained file systems and protocols outside `PROTOCOLS`."""
    if "::" in address:
        return "an address that leads through another ('::') is not followed"
    if scheme_of(address) not in PROTOCOLS:
        return f"{scheme_of(address)}:// is not among {', '.join(sorted(PROTOCOLS))}"
    return None


def check_no_credentials(address: str) -> None:
    """Refuses a URL with a user or password in it, which would end up in files and logs.

    Raises:
        UserError: It has one.
    """
    user, at, _ = address.partition("://")[2].partition("/")[0].rpartition("@")
    if at and (":" in user or scheme_of(address) in _USER_IN_ADDRESS):
        raise UserError(
            f"{public_address(address)} was given with a user name or password",
            "Remove it from the address and set it in the environment, e.g. AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY.",
        )
