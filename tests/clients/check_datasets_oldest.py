"""The oldest `datasets` that a card names, from PyPI, no code of ours: see `typed_rows`."""

from __future__ import annotations

from typed_rows import check

REQUIREMENTS = ("datasets==2.21.0", "pyarrow<20")  # its extension arrays are older than the newest pyarrow

check()
