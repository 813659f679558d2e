"""The one tree of exceptions: user errors, and what is wrong with one video.

A `UserError` ends a command: one line with the cause and the remedy, exit code 2. A `MediaError` never does: it costs
one sample and becomes a line of `rejects.jsonl`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal, get_args

Reason = Literal[
    "duplicate",  # the annotations list it a second time
    "missing",  # the annotation names a file that does not exist
    "unreadable",  # not a container or image that FFmpeg or Pillow can open
    "no_video_stream",  # audio only, or cover art only
    "truncated",  # cut off before its first whole frame
    "empty_window",  # start_s/end_s select no frame
    "too_large",  # more pixels than one frame is allowed to have
    "download_failed",  # the address did not answer, or answered with an error
    "decoder_crashed",  # the decoder took its process down
    "timeout",  # took longer than the time limit of one video
    "out_of_memory",  # took more memory than one worker is allowed to have
    "not_finite",  # the model gave NaN or infinity
    "out_of_range",  # the model gave finite values that it never gives
    "too_short",  # a scene of a long video that is shorter than 2 s
]
"""Why a sample was dropped. The set is closed, so that every table and card can name each reason."""

REASONS: tuple[Reason, ...] = get_args(Reason)


class EmbeddingDatasetError(Exception):
    """Everything this project raises on purpose; pickles, so that worker processes can raise it too."""

    def __reduce__(self) -> tuple[Any, ...]:
        return BaseException.__new__, (type(self), *self.args), self.__dict__


class UserError(EmbeddingDatasetError):
    """A mistake that the user can correct: cause and remedy on one line, exit code 2."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause.rstrip('.')}. {remedy}")


MOST_NAMES = 20
"""Names that a message lists: a dataset may have thousands of labels."""


class UnknownNameError(UserError):
    """A dataset, model or option value that does not exist; the nearest existing one is suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str | None = None) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names[:MOST_NAMES])}{more}."
        super().__init__(f"unknown {kind} {name!r}", f"{hint} {remedy}" if remedy else hint)


class RawDataError(UserError):
    """Raw data does not exist, or does not have the layout that the recipe expects.

    Attributes:
        layout: Several lines to read, printed below the error: the tree expected and where each file comes from.
    """

    def __init__(self, cause: str, remedy: str, layout: str = "") -> None:
        self.layout = layout
        super().__init__(cause, remedy)


class AnnotationError(RawDataError):
    """An annotation file is not what it should be: names the file, the line or key, what was found and expected."""

    def __init__(self, file: object, where: str, problem: str, expected: str) -> None:
        place = f"{file}: {where}" if where else f"{file}"
        super().__init__(f"{place}: {problem}", f"Expected {expected}.")


class DamagedFileError(UserError):
    """A file that this project wrote, or a tar it was given, is cut off or not what it should be."""

    def __init__(self, file: object, where: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {where}: {problem}" if where else f"{file}: {problem}", remedy)


class SettingsError(UserError):
    """The output that exists was made with other settings."""


class MediaError(EmbeddingDatasetError):
    """One video or image cannot be used; becomes a Reject.

    Attributes:
        reason: One of `REASONS`.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)
