"""Model components: resolves a Hub id or folder and the name of a component to files, and loads the model.

    vae = load_vae(find_component("THUDM/CogVideoX-5b", "vae"), "cuda", torch.bfloat16)

A folder may hold a whole pipeline with one subfolder per component, as on the Hub, or a single component, as
`save_pretrained` writes it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from preprocess.errors import UserError
from preprocess.hub import model_errors, retry_when_limited
from preprocess.samples import JSON

if TYPE_CHECKING:
    import torch

Part = Literal["vae", "text_encoder", "tokenizer"]

COGVIDEOX = "THUDM/CogVideoX-5b"
INSTALL = ".venv/bin/pip install -r requirements-long-video.txt"

_NEEDED_FILE = {"vae": "config.json", "text_encoder": "config.json", "tokenizer": "tokenizer_config.json"}


def require(*modules: str) -> None:
    """Checks that optional modules are installed before any work starts.

    Raises:
        UserError: A module is missing; the remedy is the command that installs it.
    """
    for module in modules:
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # the parent package
            found = False
        if not found:
            raise UserError(f"the package of {module!r} is not installed", f"Install it: {INSTALL}")


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a pipeline on the local disk.

    Attributes:
        id: Hub id, or the name of the folder (never a host path).
        revision: Commit on the Hub, None for a folder.
        folder: Folder to pass to `from_pretrained`.
    """

    id: str
    revision: str | None
    folder: Path

    def record(self) -> JSON:
        """Id, revision, and one SHA-256 over all weight files in order of their names."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return {"model": self.id, "revision": self.revision, "weights_sha256": digest.hexdigest()}


def find_component(model: str, part: Part, revision: str | None = None) -> Component:
    """Finds a component by the Hub id or folder of its pipeline, or by its own folder.

    Raises:
        UserError: There is no such folder or repository, it lacks the component, or it holds no safetensors.
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
    """The `AutoencoderKLCogVideoX`, ready to encode; the unused decoder is dropped to free memory."""
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

    from preprocess.encoders.process import quiet

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
    """Versions of the libraries that determine the output bytes."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in packages}


def _complete(component: Component, part: Part) -> Component:
    needed = _NEEDED_FILE[part]
    if not (component.folder / needed).is_file():
        raise UserError(
            f"model {component.id!r} has no {part}: {needed} not found",
            f"Use {COGVIDEOX}, or a folder with the subfolder {part!r}.",
        )
    if part != "tokenizer" and not any(component.folder.glob("*.safetensors")):
        raise UserError(f"the {part} of {component.id!r} has no *.safetensors", "Save it with save_pretrained.")
    return component


def _snapshot(model: str, part: Part, revision: str | None) -> Path:
    """The files of the component in the local cache; missing ones are downloaded."""
    from huggingface_hub import snapshot_download

    wanted = [f"{part}/*.json", f"{part}/*.safetensors", f"{part}/*.model"]
    with model_errors(model, revision, "name a folder that holds it"):
        return Path(retry_when_limited(lambda: snapshot_download(model, revision=revision, allow_patterns=wanted)))
