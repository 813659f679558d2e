"""Names for the files and folders of a video: the id of its source where that is possible, else its key.

    video_names({"v_-a_b": "v_-a.b", "clip_1": "same", "clip_2": "same"})
    {"v_-a_b": "v_-a.b", "clip_1": "clip_1", "clip_2": "clip_2"}

Annotations of other projects name videos by the id of the source, while keys have no dots and are unique.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


def video_names(ids: Mapping[str, str]) -> dict[str, str]:
    """A name for each key, unique, and safe as the name of a file or folder.

    Args:
        ids: Key of each sample to the id of its source.

    Returns:
        Key to name: the id, unless it is not a valid name, belongs to several samples, or is the key of another
        sample; then the key.
    """
    count = Counter(ids.values())

    def is_own(id_: str, key: str) -> bool:
        return count[id_] == 1 and (id_ == key or id_ not in ids) and _is_name(id_)

    return {key: id_ if is_own(id_, key) else key for key, id_ in ids.items()}


def _is_name(name: str) -> bool:
    # A name with one of these suffixes could collide with a file beside the folders.
    plain = "/" not in name and "\0" not in name and not name.endswith((".json", ".jsonl"))
    return bool(name) and not name.startswith(".") and plain and len(name.encode()) <= 200
