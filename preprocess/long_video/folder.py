"""Paths of one long-video training set, and the rule that its files were made with one set of settings.

data/long-demo/
├── found/<video>.json      length and cuts of each video, so that none is searched twice
├── scenes.jsonl            one scene a line; may be edited
├── episodes/09s.jsonl      one episode a line: where its segments lie, scene flags, texts
├── latents/09s/<key>.pt    bfloat16 (16·L/4 + 1, 32, 60, 90), and latents/settings.json
├── latents/media/09s/<key>.json   size and modification time of the videos that they were made from
├── text/502/<sha>_<variant>.pt    bfloat16 (502, d); text/settings.json, text/scene_tokens.safetensors
├── train_09s.jsonl         what the training reads
├── rejects_<step>.jsonl    what could not be used, and why
└── source.json             the raw folder, the models (the only file with paths of this machine)
"""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import SettingsError, UserError
from preprocess.formats.layout import json_bytes, read_json
from preprocess.readers.annotations import read_jsonl
from preprocess.samples import JSON, canonical_json
from preprocess.storage import write_if_changed

STAGES_S = (3, 9, 18, 30, 63)
"""Lengths of the episodes of each training stage, in seconds."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of one training set.

    Attributes:
        root: The folder that holds it all.
    """

    root: Path

    @property
    def source(self) -> Path:
        """Where the raw videos are."""
        return self.root / "source.json"

    @property
    def scenes(self) -> Path:
        """All scenes, by video and start."""
        return self.root / "scenes.jsonl"

    def episodes(self, seconds: int) -> Path:
        """The episodes of one stage."""
        return self.root / "episodes" / f"{seconds:02d}s.jsonl"

    @property
    def frames(self) -> Path:
        """Size and rate of the frames of all episodes."""
        return self.root / "episodes" / "frames.json"

    @property
    def found(self) -> Path:
        """Length and cuts of each video."""
        return self.root / "found"

    @property
    def latents_settings(self) -> Path:
        """Settings of the latents."""
        return self.root / "latents" / "settings.json"

    def latents(self, seconds: int) -> Path:
        """The latents of one stage."""
        return self.root / "latents" / f"{seconds:02d}s"

    def latents_media(self, seconds: int) -> Path:
        """Which state of the videos the latents of one stage were made from."""
        return self.root / "latents" / "media" / f"{seconds:02d}s"

    @property
    def text(self) -> Path:
        """The text embeddings of all stages."""
        return self.root / "text"

    def texts(self, tokens: int) -> Path:
        """The text embeddings of one length."""
        return self.text / str(tokens)

    @property
    def text_settings(self) -> Path:
        """Settings of the text embeddings."""
        return self.text / "settings.json"

    @property
    def scene_tokens(self) -> Path:
        """The rows of the vocabulary that belong to `<start_scene>` and `<end_scene>`."""
        return self.text / "scene_tokens.safetensors"

    def train(self, seconds: int) -> Path:
        """The training JSONL of one stage."""
        return self.root / f"train_{seconds:02d}s.jsonl"

    def rejects(self, step: str) -> Path:
        """The ledger of rejects of one step: `scenes` or `latents`."""
        return self.root / f"rejects_{step}.jsonl"

    def stages(self, wanted: Sequence[int] | None = None) -> tuple[int, ...]:
        """Seconds of the stages that have episodes, or of those that are wanted.

        Raises:
            UserError: There are none yet, or a wanted one has none.
        """
        found = tuple(sorted(int(p.stem[:-1]) for p in (self.root / "episodes").glob("[0-9]*s.jsonl")))
        if not found:
            raise UserError(
                f"{self.root} has no episodes",
                f"Run first: {self.command('scenes')} --raw <folder>, then {self.command('segments')}",
            )
        if missing := sorted(set(wanted or ()) - set(found)):
            absent, present, every = (",".join(map(str, of)) for of in (missing, found, sorted({*found, *missing})))
            raise UserError(
                f"{self.root} has no episodes of {absent} s; its stages are {present} s",
                f"Plan them too: {self.command('segments')} --seconds {every}",
            )
        return tuple(sorted(set(wanted))) if wanted else found

    def command(self, step: str) -> str:
        """The command line of a step, for messages: it can be copied into a shell."""
        return f"python -m preprocess long-video {step} {shlex.quote(str(self.root))}"

    def note(self, **places: str) -> None:
        """Records in `source.json` where the videos or a model are on this machine, for later runs."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_if_changed(self.source, json_bytes({**read_json(self.source), **places}))

    def noted(self, name: str) -> str | None:
        """What `note` recorded under that name."""
        return read_json(self.source).get(name)

    def raw(self) -> Path:
        """The folder of the raw videos.

        Raises:
            UserError: It was never given, or no longer exists.
        """
        raw = self.noted("raw")
        if raw is None or not Path(raw).is_dir():
            raise UserError(
                f"the raw videos of {self.root} are {'unknown' if raw is None else f'not at {raw!r}'}",
                f"Run: {self.command('scenes')} --raw <folder>",
            )
        return Path(raw)

    @contextlib.contextmanager
    def only_run(self, step: str, rank: int = 0) -> Iterator[None]:
        """Keeps a second run of the same step (and rank) out.

        Raises:
            UserError: There is one.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        file = self.root / f".lock_{step}_{rank}"
        with file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"another run of {step!r} is working on {self.root}", "Wait for it, or use another folder."
                ) from error
            try:
                yield
            finally:
                if [path.name for path in self.root.iterdir()] == [file.name]:  # the run wrote nothing
                    file.unlink()
                    self.root.rmdir()


def require_same_settings(path: Path, record: JSON, *, overwrite: bool = False) -> None:
    """Records in `path` the settings of the files in its folder.

    Args:
        path: A `settings.json`. Keys of `record` other than `versions` have to be as they are there.
        overwrite: Delete the files made with other settings.

    Raises:
        SettingsError: They were made with something else.
    """
    before = {} if overwrite else read_json(path)
    for key in sorted({*before, *record} - {"versions"}) if before else ():
        if before.get(key) != record.get(key):
            raise SettingsError(
                f"{path.parent} was made with {key} = {before.get(key)!r}, not {record.get(key)!r}",
                "Give the option as it was, overwrite with --overwrite, or use another folder.",
            )
    if overwrite and path.parent.is_dir():
        shutil.rmtree(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not before:
        write_if_changed(path, json_bytes(record))


def write_rows(path: Path, rows: Iterable[JSON]) -> None:
    """Writes JSON Lines atomically; a file with the same bytes is not touched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_if_changed(path, b"".join(canonical_json(row).encode() + b"\n" for row in rows))


def read_rows(path: Path) -> list[tuple[int, JSON]]:
    """Line number and object of each line of a JSON Lines file.

    Raises:
        UserError: The file does not exist, or a line of it is not a JSON object.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist", "Run the step of `python -m preprocess long-video` that writes it.")
    return list(read_jsonl(path))
