"""Files on this machine or in an object store; a file is written completely or not at all.

location("data")              PosixPath('data')
location("s3://bucket/data")  S3Path('bucket/data', protocol='s3'), with pathlib's methods
"""

from __future__ import annotations

from preprocess.storage.cells import close_cells, read_cell
from preprocess.storage.listing import (
    Stamp,
    file_names,
    files_below,
    fingerprint,
    fingerprints,
    is_utf8,
    local_fingerprint,
    stamp_of,
    total_size,
)
from preprocess.storage.locations import (
    cache_folder,
    is_remote,
    location,
    modules,
    output_location,
    reaching,
)
from preprocess.storage.mapping import MappedFiles, keep_copies, mapped, reading
from preprocess.storage.patterns import (
    base_folder,
    expand_braces,
    is_pattern,
)
from preprocess.storage.ranges import (
    copy_range,
    read_if_there,
    read_ranges,
)
from preprocess.storage.stores import download, not_installed, patiently, store_options
from preprocess.storage.writing import (
    LOCK_FILE,
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    atomic_file,
    atomic_folder,
    atomic_path,
    clear_folder,
    has_lines,
    is_temporary,
    make_folder,
    move_files,
    named_errors,
    publish,
    remove,
    remove_temporary,
    sync,
    write_atomic,
    write_if_changed,
    write_lines_if_changed,
)

__all__ = [
    "LOCK_FILE",
    "TEMPORARY_PREFIX",
    "TEMPORARY_SUFFIX",
    "MappedFiles",
    "Stamp",
    "atomic_file",
    "atomic_folder",
    "atomic_path",
    "base_folder",
    "cache_folder",
    "clear_folder",
    "close_cells",
    "copy_range",
    "download",
    "expand_braces",
    "file_names",
    "files_below",
    "fingerprint",
    "fingerprints",
    "has_lines",
    "is_pattern",
    "is_remote",
    "is_temporary",
    "is_utf8",
    "keep_copies",
    "local_fingerprint",
    "location",
    "make_folder",
    "mapped",
    "modules",
    "move_files",
    "named_errors",
    "not_installed",
    "output_location",
    "patiently",
    "publish",
    "reaching",
    "read_cell",
    "read_if_there",
    "read_ranges",
    "reading",
    "remove",
    "remove_temporary",
    "stamp_of",
    "store_options",
    "sync",
    "total_size",
    "write_atomic",
    "write_if_changed",
    "write_lines_if_changed",
]
