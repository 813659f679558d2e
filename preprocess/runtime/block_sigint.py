"""Blocks SIGINT when imported, and SIGTERM no longer: the last module that the fork server imports.

A module imported before it may make a semaphore, for which Python starts a resource tracker, and that ends with SIGINT
unblocked. SIGTERM is blocked while the fork server starts, and would stay blocked in its workers.
"""

from __future__ import annotations

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
