"""Inputs made to harm: `.npy`, JSON, tar, and whole files. Every reader gives one clear error for each of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from preprocess.formats.tar import END, end_of_archive, member
from preprocess.formats.triples import npy_bytes

DEEP = b"[" * 10_000 + b"]" * 10_000
DEEP_OBJECTS = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
DIGITS = b"1" * 5000
VECTORS = npy_bytes(np.ones((2, 4), np.float16))


# --- .npy -------------------------------------------------------------------------------------------------------------


def npy(descr: str, shape: str, order: str = "False", data: bytes = b"") -> bytes:
    """A .npy file whose header says anything."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


NPY = {
    "negative": npy("'<f2'", "(-2, 16)", data=bytes(64)),
    "huge": npy("'<f2'", "(999999999999999999, 999999999999999999)"),
    "huge but empty": npy("'<f2'", "(0, 999999999999999999, 999999999999999999)"),
    "a number of 5,000 digits": npy("'<f2'", f"({'9' * 5000},)"),
    "a hundred dimensions": npy("'<f2'", f"({'1, ' * 100})", data=bytes(2)),
    "a subarray": npy("('<f2', (2, 3))", "(2, 16)", data=bytes(384)),
    "void": npy("'|V2'", "(2, 16)", data=bytes(64)),
    "void of no bytes": npy("'|V0'", "(2, 16)"),
    "an empty descr": npy("''", "(2, 16)"),
    "no such float": npy("'<f3'", "(2, 16)", data=bytes(96)),
    "a record": npy("[('a', '<f2')]", "(2, 16)", data=bytes(64)),
    "objects": npy("'|O'", "(2, 16)", data=bytes(512)),
    "float64": npy("'<f8'", "(2, 16)", data=bytes(256)),
    "no dimension": npy("'<f2'", "()", data=bytes(2)),
    "nested brackets": npy("'<f2'", "(" * 10_000 + ")" * 10_000),
    "nested descr": npy("[" * 10_000 + "]" * 10_000, "(2, 16)"),
    "code": npy("__import__('os').getcwd()", "(2, 16)"),
    "a header longer than the file": b"\x93NUMPY\x01\x00\xff\xff{",
    "a header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "version 3": b"\x93NUMPY\x03\x00" + VECTORS[8:],
    "nothing": b"",
}
"""All but `float64` and `no dimension`, which are arrays, though none of an embedding, are an error of every reader."""


# --- JSON -------------------------------------------------------------------------------------------------------------

JSON = {
    "nested": DEEP,
    "nested objects": DEEP_OBJECTS,
    "a number of 5,000 digits": b'{"key": ' + DIGITS + b"}",
    "infinity": b'{"key": Infinity}',
    "a number beyond all floats": b'{"key": 1e999}',
    "digits beyond all floats": b'{"key": ' + b"1" * 400 + b".0}",
    "half a surrogate": b'{"key": "\\ud800"}',
    "UTF-16": '{"key": "a"}'.encode("utf-16"),
    "not UTF-8": b'{"key": "\xff"}',
    "a list": b"[[]]",
    "nothing": b"",
}
"""None is the metadata of a sample."""


# --- tar --------------------------------------------------------------------------------------------------------------


def header_with(field: slice, value: bytes, name: str = "a.npy", kind: bytes = b"0") -> bytes:
    """A header whose checksum is right, with another value in one field."""
    header = bytearray(member(name, b"")[:512])
    header[156:157] = kind
    header[field] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


SIZE = slice(124, 136)
SIZES = (
    b"-0000001000\0",
    b"-1          ",
    b"+0000001000\0",
    b"0x000000010\0",
    b"0_000000010\0",
    b"00000000008\0",
    b"0000\0" + b"0000777",
    b"12 34       ",
    b"\xff" * 12,  # base 256, -1
    b"\xc0" + bytes(10) + b"\1",
    b"\x80" + b"\xff" * 11,
    "٠٠٠٠٠٠".encode(),
)
"""Sizes that are no plain octal digits; the first made a reader turn back, for ever."""


def pax(records: bytes, size: int | None = None) -> bytes:
    """An extended header with these records, then an empty file."""
    claimed = b"%011o\0" % (len(records) if size is None else size)
    head = header_with(SIZE, claimed, name="pax", kind=b"x")
    return head + records + bytes(-len(records) % 512) + member("a.npy", b"") + END


PAX = (
    b"9" * 5000 + b" path=b\n",
    b"-9 path=b\n",
    b"+10 path=b\n",
    b"010 path=b\n",
    b"99 path=b\n",
    b"3 p\n",
    b"0 path=b\n",
    b" path=b\n",
    "١٠ path=b\n".encode(),
    b"10 path=bX",
    b"13 size=-512\n",
    b"14 size=0x200\n",
    b"12 size=1_0\n",
    b"5013 size=" + b"9" * 5000 + b"\n",
    "14 size=٣٣\n".encode(),
    b"24 GNU.sparse.major=100\n",
)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A whole tar."""
    body = b"".join(member(name, data) for name, data in files.items())
    return body + end_of_archive(len(body))


GNU_NAME = header_with(SIZE, b"%011o\0" % 150, name="@LongLink", kind=b"L") + (b"x" * 150).ljust(512, b"\0")
TARS = {
    **{f"size {size!r}": header_with(SIZE, size) + END for size in SIZES},
    **{f"PAX {records[:20]!r}": pax(records) for records in PAX},
    "PAX of 1 GB": pax(b"10 path=b\n", size=1 << 30),
    "a GNU name": GNU_NAME + member("a.npy", b"") + END,
    "a GNU name that is not UTF-8": GNU_NAME.replace(b"xxx", b"\xff\xfe\n") + member("a.npy", b"") + END,
    "a name that is not UTF-8": header_with(slice(0, 100), b"caf\xe9.npy".ljust(100, b"\0")) + END,
    "a claim of half a petabyte": header_with(SIZE, b"\x80" + (1 << 49).to_bytes(11, "big")) + END,
    "no end": member("a.npy", b"x"),
    "HTML": b"<html>not found</html>" * 100,
    "nothing": b"",
}


# --- files -----------------------------------------------------------------------------------------------------------

HOSTILE_FILES = {
    "nested": DEEP,
    "nested objects": DEEP_OBJECTS,
    "nested YAML": b"---\na: " + DEEP + b"\n---\n",
    "UTF-16": '{"ds_00000.tar": 5}'.encode("utf-16"),
    "Latin-1": b"---\nlicense: \xfc\n---\n",
    "zeros": bytes(5000),
    "a field of 200 kB": b"tar_file,split\n" + b"x" * 200_000 + b",train\n",
    "a number of 5,000 digits": b'{"ds_00000.tar": ' + DIGITS + b"}",
    "a huge number": b'{"ds_00000.tar": ' + b"1" * 400 + b"}",
    "an open quote": b'tar_file,split\n"ds_00000.tar,train\n',
    "an escape sequence": b"tar_file,split\n\x1b[2Jds_00000.tar,train\n",
    "a link with a zero byte": b"---\na: 1\n---\n[x](a%00b) [y](" + b"z" * 5000 + b")",
    "an alias bomb": b"---\na: &a [x]\nb: &b [*a,*a]\nlicense: *b\n---\n",
    "lists where names belong": b"---\nlicense: [[1]]\nconfigs: [1, {config_name: [1]}]\ndataset_info: {features: 3}\n"
    b"---\n",
}
"""What any file of a dataset's folder may turn out to be."""
