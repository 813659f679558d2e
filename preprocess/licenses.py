"""Which licenses let everyone publish frames of the videos or images that they cover.

Frames are often subject to stricter terms than embeddings. They are published, on contact sheets and in the figures of
cards, if the license of the media themselves (`DatasetSpec.media_license`; `license` is often that of the annotations
alone) is known and lets everyone redistribute them: public domain, Creative Commons (including non-commercial and
share-alike) and free software licenses. `unknown`, `other` and no-derivatives licenses (a contact sheet is a
derivative) do not: there the user has to confirm having the rights (`--allow-frames`).
"""

from __future__ import annotations

from preprocess.errors import UserError
from preprocess.samples import DatasetSpec

_FREE_LICENSES = """
    cc0-1.0 pddl unlicense wtfpl
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 gfdl
    apache-2.0 mit bsd-2-clause bsd-3-clause isc zlib
"""
FREE_LICENSES = frozenset(_FREE_LICENSES.split())
"""Licenses, by their ids on the Hub, that permit everyone to redistribute the media, modified or not."""


def permits_frames(spec: DatasetSpec) -> bool:
    """Whether everyone may publish frames of a dataset."""
    return spec.media_license in FREE_LICENSES


def check_license(spec: DatasetSpec, allow_frames: bool = False) -> None:
    """Checks that frames of a dataset may be published.

    Args:
        spec: Of the dataset.
        allow_frames: The user has confirmed having the rights.

    Raises:
        UserError: The license does not permit it, and the user has not confirmed it.
    """
    if not allow_frames and not permits_frames(spec):
        raise UserError(
            f"frames of {spec.name!r} may not be redistributed by everyone: the license of its videos or images is "
            f"{spec.media_license!r}",
            "If you have the rights to publish frames, add --allow-frames.",
        )
