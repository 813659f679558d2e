"""From the name of a model to its files on this disk.

`openai/clip-vit-base-patch32` is downloaded from the Hub once (weights, config, tokenizer; safetensors where the
repository has them) and found in the cache from then on. `tiny-clip` is the model kept in this repository, and a folder
is used as it is. All three are then loaded by the same `from_pretrained(folder)`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import UserError
from preprocess.hub import model_errors, retry_when_limited
from preprocess.samples import JSON
from preprocess.validation import shown

TINY_CLIP = "tiny-clip"
TINY_CLIP_FOLDER = Path(__file__).resolve().parent.parent / "demo" / "tiny_clip"

_CONFIG_PATTERNS = ("*.json", "*.txt", "*.model")  # *.model: vocabularies of SentencePiece
_PROCESSOR_CONFIGS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_TIMEOUT_S = 15


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this disk.

    Attributes:
        id: Hub id, `tiny-clip`, or the name of the folder: never a path of this machine.
        revision: Commit of the Hub repository, or None for a folder.
        folder: What `from_pretrained` is given.
        weights: The files that hold the weights, sorted.
    """

    id: str
    revision: str | None
    folder: Path
    weights: tuple[Path, ...]

    def place(self) -> str:
        """The name that finds this model again on this machine: its id, or the path of its folder."""
        return self.id if self.revision is not None or self.folder == TINY_CLIP_FOLDER else str(self.folder)

    def sha256(self) -> str:
        """Checksum of the weights: of the one file, or of all files one after another in the order of their names."""
        digest = hashlib.sha256()
        for file in self.weights:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def config(self) -> JSON:
        """`config.json`."""
        return read_json(self.folder / "config.json")

    def tokenizer_config(self) -> JSON:
        """`tokenizer_config.json`, empty for a model without."""
        return read_json(self.folder / "tokenizer_config.json")

    def has_tokenizer(self) -> bool:
        """Whether there is a vocabulary: of `tokenizers`, of byte pairs, or of SentencePiece."""
        return any((self.folder / name).is_file() for name in _VOCABULARIES)


def read_json(path: Path) -> JSON:
    """A JSON object of a model's folder; empty where there is no such file.

    Raises:
        UserError: The file is something else.
    """
    if not path.is_file():
        return {}
    try:
        value: JSON = json.loads(path.read_text(encoding="utf-8"))
        problem = None if isinstance(value, dict) else shown(value)
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise UserError(f"{path} is not a JSON object ({problem})", "Save or download the model again.")
    return value


def resolve(model: str, revision: str | None = None) -> ModelFiles:
    """Finds a model by name, downloading it from the Hub if it is not on this disk yet.

    Args:
        model: `tiny-clip`, a folder, or the id of a Hub repository.
        revision: Branch, tag or commit on the Hub; None for `main`.

    Raises:
        UserError: No such folder or repository, or it holds no weights.
    """
    folder = Path(model).expanduser()
    if model == TINY_CLIP or (folder.is_dir() and folder.samefile(TINY_CLIP_FOLDER)):
        return _from_folder(TINY_CLIP, None, TINY_CLIP_FOLDER)
    if folder.is_dir():
        return _from_folder(folder.resolve().name, None, folder.resolve())
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise UserError(
            f"no model {model!r}: there is no such folder, and it is not the id of a Hub repository",
            f"Use MODEL={TINY_CLIP}, MODEL=openai/clip-vit-base-patch32 or a folder made by save_pretrained.",
        )
    snapshot = _cached(model, revision) or _download(model, revision)
    return _from_folder(model, snapshot.name, snapshot)


def config_here(model: str) -> JSON:
    """`config.json` of a model, as far as it is on this disk; empty where it must be downloaded, or is none.

    Args:
        model: As for `resolve`.

    Raises:
        UserError: The file is not a JSON object.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return read_json(folder / "config.json")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return {}
    return read_json(Path(found)) if isinstance(found, str) else {}


def _from_folder(name: str, revision: str | None, folder: Path) -> ModelFiles:
    weights = _weights(folder)
    if not weights or not (folder / "config.json").is_file():
        raise UserError(
            f"model {name!r} is not complete: config.json and model.safetensors (or pytorch_model.bin) are expected",
            f"Save it with save_pretrained, or use MODEL={TINY_CLIP}.",
        )
    return ModelFiles(name, revision, folder, weights)


def _weights(folder: Path) -> tuple[Path, ...]:
    """The weight files `from_pretrained` would take: safetensors before torch's own format."""
    return tuple(sorted(folder.glob("model*.safetensors"))) or tuple(sorted(folder.glob("pytorch_model*.bin")))


def _cached(model: str, revision: str | None) -> Path | None:
    """The snapshot in the local cache if it is complete; so a finished build needs no network to be run again."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None
    processor = any((folder / name).is_file() for name in _PROCESSOR_CONFIGS)
    return folder if processor and _weights(folder) and (folder / "config.json").is_file() else None


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    with model_errors(model, revision, f"name a folder that holds it, or use MODEL={TINY_CLIP}"):
        info = retry_when_limited(lambda: HfApi().model_info(model, revision=revision, timeout=_TIMEOUT_S))
        safe = any(file.rfilename.endswith(".safetensors") for file in info.siblings or [])
        patterns = [*_CONFIG_PATTERNS, "model*.safetensors" if safe else "pytorch_model*.bin"]
        return Path(retry_when_limited(lambda: snapshot_download(model, revision=revision, allow_patterns=patterns)))
