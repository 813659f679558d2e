"""The newest `datasets` on PyPI, no code of ours: see `typed_rows`."""

from __future__ import annotations

from typed_rows import check

REQUIREMENTS = ("datasets",)

check()
