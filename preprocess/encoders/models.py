"""From the name of a model to its files on this disk, and what the manifest says of them.

`openai/clip-vit-base-patch32` is fetched from the Hub once (weights, config, tokenizer; safetensors where the
repository has them) and found in the cache from then on. `tiny-clip` is the model kept in this repository, and a folder
is used as it is. All three are then loaded by the same `from_pretrained(folder)`.
"""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import UserError
from preprocess.samples import JSON, Preprocessing

TINY_CLIP = "tiny-clip"
TINY_CLIP_FOLDER = Path(__file__).resolve().parent.parent / "demo" / "tiny_clip"

_CONFIG_PATTERNS = ("*.json", "*.txt")
_TIMEOUT_S = 15
_BICUBIC = 3  # PIL.Image.Resampling.BICUBIC, as preprocessor configs spell it


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

    def vision_config(self) -> JSON:
        """The vision part of `config.json`.

        Raises:
            UserError: The model is not a CLIP.
        """
        config: JSON = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") not in ("clip", "clip_vision_model"):
            raise UserError(
                f"model {self.id!r} is of type {config.get('model_type')!r}",
                "Name a CLIP model, such as MODEL=openai/clip-vit-base-patch32.",
            )
        vision: JSON = config.get("vision_config", config)
        return vision

    def dim(self) -> int:
        """Length D of a vector: the vision tower takes it from its own part of the config, 512 where that is silent."""
        return int(self.vision_config().get("projection_dim", 512))

    def preprocessing(self) -> Preprocessing:
        """What the model's image processor does, from `preprocessor_config.json`.

        Raises:
            UserError: The processor does something else than resize (bicubic), centre crop, scale and normalise.
        """
        path = self.folder / "preprocessor_config.json"
        if not path.is_file():
            path = self.folder / "processor_config.json"
        if not path.is_file():
            raise UserError(f"model {self.id!r} has no preprocessor_config.json", "Name a complete CLIP model.")
        config: JSON = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("image_processor", config)
        crop, size = config.get("crop_size", 224), config.get("size", 224)
        crop = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
        shortest = size.get("shortest_edge", 0) if isinstance(size, dict) else size
        wrong = {k: config[k] for k in ("do_resize", "do_center_crop", "do_normalize") if not config.get(k, True)}
        if not shortest:
            wrong["size"] = size
        if config.get("resample", _BICUBIC) != _BICUBIC:
            wrong["resample"] = config["resample"]
        if wrong:
            raise UserError(
                f"the image processor of model {self.id!r} is not CLIP's: {wrong}",
                "Models whose processor resizes (bicubic, shortest edge), crops and normalises can be used.",
            )
        mean, std = config["image_mean"], config["image_std"]
        return Preprocessing(shortest, crop, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def resolve(model: str, revision: str | None = None) -> ModelFiles:
    """Finds a model by name, downloading it from the Hub if it is not on this disk yet.

    Args:
        model: `tiny-clip`, a folder, or the id of a Hub repository.
        revision: Branch, tag or commit on the Hub; None for `main`.

    Raises:
        UserError: No such folder or repository, or it holds no weights.
    """
    folder = Path(model).expanduser()
    if model == TINY_CLIP:
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
    complete = (
        _weights(folder) and (folder / "config.json").is_file() and (folder / "preprocessor_config.json").is_file()
    )
    return folder if complete else None


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        siblings = HfApi().model_info(model, revision=revision, timeout=_TIMEOUT_S).siblings or []
        safe = any(file.rfilename.endswith(".safetensors") for file in siblings)
        weights = "model*.safetensors" if safe else "pytorch_model*.bin"
        return Path(snapshot_download(model, revision=revision, allow_patterns=[*_CONFIG_PATTERNS, weights]))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise UserError(
            f"no model {model!r} on the Hub" + (f" with revision {revision!r}" if revision else ""),
            f"Check the name and revision, log in if it is private (hf auth login), or use MODEL={TINY_CLIP}.",
        ) from error
    except Exception as error:  # every layer of the network has errors of its own, and they change with the client
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise UserError(
            f"model {model!r} is not on this disk and the Hub could not be reached ({type(error).__name__})",
            f"Connect once to download it, name a folder that holds it, or use MODEL={TINY_CLIP}.",
        ) from error
