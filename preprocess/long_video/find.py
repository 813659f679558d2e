"""The step `scenes`: raw videos, and annotations where there are any, to `scenes.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preprocess.errors import MediaError, SettingsError, UserError
from preprocess.formats.layout import read_json, write_json
from preprocess.long_video.detect import Detected, Detector, detect_cuts, video_duration
from preprocess.long_video.folder import Folder, write_rows
from preprocess.long_video.scenes import ROUNDING_S, Scene, find_videos, read_scenes
from preprocess.media.stamps import media_stamp
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import JSON, Reject, Split, Stage, canonical_json, safe_key
from preprocess.storage import remove_temporary


@dataclass(frozen=True, slots=True)
class Video:
    """A video to examine; its key is its path below the raw folder."""

    key: str

    @property
    def split(self) -> Split:
        """Of a Reject: everything here is for training."""
        return "train"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a video; `made` says whether this run looked."""

    key: str
    detected: Detected
    made: bool


@dataclass(frozen=True, slots=True)
class LookAtVideos:
    """Measures videos and, with a detector, finds their cuts; what was found before is not looked for again."""

    raw: Path
    out: Path
    detector: Detector | None

    def __call__(self, task: Task[Video], watch: Watch) -> Iterator[Found | Reject]:
        """Yields what was found in each video."""
        for video in task.items:
            watch(video.key)
            try:
                yield self._look(video)
            except MediaError as error:
                stage: Stage = "find" if error.reason == "missing" else "decode"
                yield Reject(video.key, "train", stage, error.reason, str(error))
            except (UserError, OSError):
                raise
            except Exception as error:  # a fault in a decoder or detector must not end the run
                yield Reject(video.key, "train", "decode", "decoder_crashed", f"{type(error).__name__}: {error}")
            watch(None)

    def _look(self, video: Video) -> Found:
        path, note = self.raw / video.key, self.out / f"{safe_key(video.key)}.json"
        stamp: JSON = {
            "video": video.key,
            "media": list(media_stamp(str(self.raw), video.key) or ()),
            "detector": self.detector.to_json() if self.detector else None,
        }
        before = read_json(note)
        if before and {name: before.get(name) for name in stamp} == stamp:
            return Found(video.key, Detected(before["duration"], tuple(before["cuts"])), made=False)
        found = detect_cuts(path, self.detector) if self.detector else Detected(video_duration(path), ())
        write_json(note, {**stamp, "duration": found.duration_s, "cuts": list(found.cuts_s)})
        return Found(video.key, found, made=True)


def find_scenes(
    folder: Folder,
    raw: Path,
    annotations: Path | None,
    detector: Detector,
    options: RunOptions,
    *,
    overwrite: bool = False,
) -> tuple[list[Scene], list[Reject]]:
    """Writes `scenes.jsonl`, and what could not be used into `rejects_scenes.jsonl`.

    Args:
        folder: Of the training set.
        raw: The folder of the videos.
        annotations: A table of scenes; None to detect them in every video. A text beside a video (same name, `.txt`)
            is then the text of all its scenes.
        detector: What detects them.
        options: Workers and limits.
        overwrite: Replace a `scenes.jsonl` that says something else.

    Raises:
        UserError: No videos, wrong annotations, or a `scenes.jsonl` that would be lost.
    """
    videos = find_videos(raw)
    given = None if annotations is None else read_scenes(annotations)
    wanted = sorted({videos[s.video] for s in given if s.video in videos} if given else set(videos.values()))
    found, rejects = look_at(folder, raw, wanted, None if given else detector, options)
    scenes: list[Scene] = []
    if given is None:
        for video, detected in sorted(found.items()):
            text = _text_beside(raw / video)
            scenes += [Scene(video, start, end, text) for start, end in detected.scenes()]
    for name in sorted({scene.video for scene in given or ()} - videos.keys()):
        rejects.append(Reject(name, "train", "find", "missing", f"{name} is not among the videos, or means several"))
    for scene in given or ():
        if videos.get(scene.video) in found:
            inside = _inside(replace(scene, video=videos[scene.video]), found)
            (rejects if isinstance(inside, Reject) else scenes).append(inside)  # type: ignore[arg-type]
    rejects.sort(key=lambda reject: reject.key)
    write_rows(folder.rejects("scenes"), [reject.to_json() for reject in rejects])
    if not scenes:
        raise UserError(
            f"no scene can be used; {folder.rejects('scenes')} has the reasons", "Replace or repair the videos."
        )
    scenes.sort(key=lambda scene: (scene.video, scene.start_s, scene.end_s))
    _write(folder, raw, scenes, overwrite)
    return scenes, rejects


def scene_key(scene: Scene) -> str:
    """What a scene is called in a ledger."""
    return f"{scene.video} {scene.start_s:.3f}"


def look_at(
    folder: Folder, raw: Path, wanted: Sequence[str], detector: Detector | None, options: RunOptions
) -> tuple[dict[str, Detected], list[Reject]]:
    """Duration and, with a detector, cuts of each video by its path below `raw`; and those that cannot be read."""
    folder.found.mkdir(parents=True, exist_ok=True)
    found: dict[str, Detected] = {}
    rejects = []
    for report in run_items(
        [Video(name) for name in wanted],
        LookAtVideos(raw, folder.found, detector),
        options,
        per_task=1 if detector else 16,
        description="detect" if detector else "measure",
        unit=" videos",
    ):
        if isinstance(report, Reject):
            rejects.append(report)
        else:
            found[report.key] = report.detected
    remove_temporary(folder.found)  # of killed runs or workers
    return found, rejects


def _inside(scene: Scene, found: Mapping[str, Detected]) -> Scene | Reject:
    """A scene that annotators gave, cut to the length of its video."""
    length = found[scene.video].duration_s
    if scene.start_s >= length - ROUNDING_S:
        message = f"the scene begins at {scene.start_s:g} s, the video ends at {length:.3f} s"
        return Reject(scene_key(scene), "train", "find", "empty_window", message)
    return replace(scene, end_s=min(scene.end_s, length))


def _text_beside(video: Path) -> tuple[str, ...]:
    """The words of `tom.txt` beside `tom.mp4`, as one text."""
    path = video.with_suffix(".txt")
    text = " ".join(path.read_text(encoding="utf-8-sig").split()) if path.is_file() else ""
    return (text,) if text else ()


def _write(folder: Folder, raw: Path, scenes: Sequence[Scene], overwrite: bool) -> None:
    """Writes the scenes, but never replaces what the user may have edited in them."""
    rows = [scene.to_json() for scene in scenes]
    data = b"".join(canonical_json(row).encode() + b"\n" for row in rows)
    if not overwrite and folder.scenes.is_file() and folder.scenes.read_bytes() != data:
        raise SettingsError(
            f"{folder.scenes} says something else than this run found: other videos or options, or it was edited",
            "Replace it with --overwrite, or keep it by naming it: --annotations.",
        )
    write_rows(folder.scenes, rows)
    folder.note(raw=str(raw.resolve()))
