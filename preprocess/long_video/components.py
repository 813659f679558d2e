"""The real models: from a Hub id or folder and the name of a part to its files, and to the loaded model.

    vae = load_vae(find_component("THUDM/CogVideoX-5b", "vae"), "cuda", torch.bfloat16)

A folder may be a whole pipeline with a subfolder per part, as on the Hub, or the part itself, as `save_pretrained`
leaves it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from preprocess.errors import UserError
from preprocess.samples import JSON

if TYPE_CHECKING:
    import torch

Part = Literal["vae", "text_encoder", "tokenizer"]

COGVIDEOX = "THUDM/CogVideoX-5b"
INSTALL = ".venv/bin/pip install -r requirements-long-video.txt"

_NEEDED_FILE = {"vae": "config.json", "text_encoder": "config.json", "tokenizer": "tokenizer_config.json"}


def require(*modules: str) -> None:
    """Names what is not installed before anything is begun.

    Raises:
        UserError: A module is missing; the remedy is the line that installs it.
    """
    for module in modules:
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # the package that would hold it
            found = False
        if not found:
            raise UserError(f"the package of {module!r} is not installed", f"Install it: {INSTALL}")


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a pipeline on this disk.

    Attributes:
        id: Hub id, or the name of the folder: never a path of this machine.
        revision: Commit on the Hub, None for a folder.
        folder: What `from_pretrained` is given.
    """

    id: str
    revision: str | None
    folder: Path

    def record(self) -> JSON:
        """What settings say of it: id, revision, and one checksum over its weights (all files, in order of name)."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return {"model": self.id, "revision": self.revision, "weights_sha256": digest.hexdigest()}


def find_component(model: str, part: Part, revision: str | None = None) -> Component:
    """Finds a part of a pipeline by the pipeline's Hub id or folder, or by the part's own folder.

    Raises:
        UserError: There is no such folder or repository, or it lacks the part, or holds no safetensors.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        own = folder / part if (folder / part).is_dir() else folder
        return _complete(Component(folder.name, None, own), part)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise UserError(
            f"no model {model!r}: there is no such folder, and it is not the id of a Hub repository",
            f"Use {COGVIDEOX}, or a folder with the subfolder {part!r}.",
        )
    snapshot = _snapshot(model, part, revision)
    return _complete(Component(model, snapshot.name, snapshot / part), part)


def load_vae(component: Component, device: str, dtype: torch.dtype) -> Any:
    """The `AutoencoderKLCogVideoX`, ready to encode; its decoder is let go, as nothing here needs it."""
    require("diffusers")
    from diffusers import AutoencoderKLCogVideoX

    loader: Any = AutoencoderKLCogVideoX  # diffusers has no types
    vae = loader.from_pretrained(
        component.folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )
    vae.decoder = None
    return vae.to(device).eval().requires_grad_(False)


def load_text_encoder(component: Component, device: str, dtype: torch.dtype) -> Any:
    """The `T5EncoderModel`."""
    from transformers import T5EncoderModel

    from preprocess.encoders.clip import quiet

    quiet()
    loader: Any = T5EncoderModel  # its `to` has no type of its own
    model = loader.from_pretrained(component.folder, dtype=dtype, use_safetensors=True, local_files_only=True)
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(component: Component) -> Any:
    """The `T5Tokenizer`, from `tokenizer.json` or from T5's own `spiece.model`."""
    from transformers import T5Tokenizer

    if not (component.folder / "tokenizer.json").is_file():
        require("sentencepiece", "google.protobuf")
    return T5Tokenizer.from_pretrained(component.folder, local_files_only=True)


def versions(*packages: str) -> JSON:
    """Versions of what decides about the bytes."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in packages}


def _complete(component: Component, part: Part) -> Component:
    needed = _NEEDED_FILE[part]
    if not (component.folder / needed).is_file():
        raise UserError(
            f"model {component.id!r} has no {part}: {needed} is not there",
            f"Use {COGVIDEOX}, or a folder with the subfolder {part!r}.",
        )
    if part != "tokenizer" and not any(component.folder.glob("*.safetensors")):
        raise UserError(f"the {part} of {component.id!r} has no *.safetensors", "Save it with save_pretrained.")
    return component


def _snapshot(model: str, part: Part, revision: str | None) -> Path:
    """The part's files in the local cache, downloaded where they are not all there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    wanted = [f"{part}/*.json", f"{part}/*.safetensors", f"{part}/*.model"]
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=wanted))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"no model {model!r} on the Hub", "Check the name and revision; log in if it is private (hf auth login)."
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, ConnectionError) as error:
        raise UserError(
            f"model {model!r} is not on this disk and the Hub could not be reached ({type(error).__name__})",
            "Connect once to download it, or name a folder that holds it.",
        ) from error
