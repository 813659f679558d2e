"""Settings of a process that loads models: glibc's malloc and the log of `transformers`."""

from __future__ import annotations

import ctypes
import platform


def quiet() -> None:
    """No progress bar for the loading of 200 tensors, no report that the other tower was left out."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def tune_malloc() -> None:
    """Keeps glibc from giving activations back to the kernel after every layer (1.9 times at batch 256)."""
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
    libc = ctypes.CDLL(None)  # what this process has loaded; `find_library` would start a program to search for it
    libc.mallopt(m_mmap_threshold, 1 << 30)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 256 << 20)
