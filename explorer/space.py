"""Publishes the page of a pushed dataset as a Space: the project's code, a card, pinned requirements, CPU hardware.

    CLIP-MSRVTT-explorer/
    ├── README.md           title, sdk, hardware, dataset and model: what the Hub reads
    ├── app.py              the page on port 7860, for hf://datasets/<org>/CLIP-MSRVTT
    ├── requirements.txt    the pins of this project
    └── explorer/ dataset_cards/ builders/ preprocess/

Raw files are not published: the Space shows contact sheets where the dataset has them, else text.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import yaml

from builders.hub import HF_URL, check_org, local_folder
from preprocess.encoders.models import TINY_CLIP, TINY_CLIP_FOLDER
from preprocess.errors import UserError
from preprocess.formats.manifest import MANIFEST_FILE
from preprocess.formats.manifest import read as read_manifest
from preprocess.hub import one_line_errors, retry_when_limited
from preprocess.samples import JSON
from preprocess.storage import atomic_folder

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("explorer", "dataset_cards", "builders", "preprocess")
REQUIREMENTS = ("requirements.txt", "requirements-explore.txt", "requirements-gradio.txt")
PAGE = ("gradio", "faiss-cpu")
"""What the page needs beside the packages of the project; the Hub installs Gradio's own dependencies with it."""

_REMEDIES = {
    401: "Log in again with `hf auth login`: the token is not valid.",
    403: "Use a token with write access to the organization.",
    404: "Check the name of the organization, and that you are a member of it.",
}

OTHER_PINS = {"pillow": "12.3.0"}
"""The Hub installs Gradio with its dependencies, and Gradio asks for pillow<13; a Space reads contact sheets only."""

HARDWARE = "cpu-basic"
PYTHON = "3.11"
SUFFIX = "-explorer"
_CODE = frozenset({".py", ".jinja", ".js", ".css", ".txt"})
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;]+)", re.MULTILINE)


def write_space(source: str, org: str, folder: Path) -> list[Path]:
    """Writes everything that a Space consists of into an empty folder.

    Args:
        source: Folder of the dataset, or its address on the Hub.
        org: Owner of the pushed dataset and of the Space; the address itself says it where `source` is one.
        folder: Is created; must not hold anything.

    Returns:
        The files, sorted.

    Raises:
        UserError: The folder is not empty, the dataset cannot be read, or its model is a folder of this machine.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty", "Name another folder.")
    manifest = read_manifest(local_folder(source, only=MANIFEST_FILE) / MANIFEST_FILE)
    repository = _repository(source, org, manifest["dataset"])
    model = manifest["encoder"]["model"]
    if model != TINY_CLIP and "/" not in model:
        raise UserError(
            f"the embeddings were made by {model!r}, a folder that the Space cannot load",
            "Push the model to the Hub, and build with MODEL=<org>/<model>.",
        )
    with atomic_folder(folder) as partial:
        for package in PACKAGES:
            _copy_code(ROOT / package, partial / package)
        if model == TINY_CLIP:
            shutil.copytree(TINY_CLIP_FOLDER, partial / TINY_CLIP_FOLDER.relative_to(ROOT), dirs_exist_ok=True)
        (partial / "README.md").write_text(card(repository, model), "utf-8")
        (partial / "app.py").write_text(application(repository), "utf-8")
        (partial / "requirements.txt").write_text(requirements(), "utf-8")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def push_space(source: str, org: str, *, public: bool = False) -> tuple[str, bool]:
    """Writes the Space and uploads it to `<org>/<dataset>-explorer`, creating it where there is none.

    Returns:
        Its address, and whether it is private.

    Raises:
        UserError: As `write_space`; or the Hub refuses, or does not have the dataset.
    """
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise UserError(
            "no token for the Hub, so no Space can be written",
            "Log in with `hf auth login`, or set HF_TOKEN to a token that may write (https://hf.co/settings/tokens).",
        )
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "space"
        write_space(source, org, folder)
        dataset = _repository(
            source, org, read_manifest(local_folder(source, only=MANIFEST_FILE) / MANIFEST_FILE)["dataset"]
        )
        with one_line_errors(dataset, _REMEDIES):
            if not retry_when_limited(lambda: api.repo_exists(dataset, repo_type="dataset")):
                raise UserError(f"the Hub has no dataset {dataset}", f"Push it first: make push DATASET=… ORG={org}")
        space = f"{org}/{dataset.partition('/')[2]}{SUFFIX}"
        with one_line_errors(space, _REMEDIES):
            retry_when_limited(
                lambda: api.create_repo(space, repo_type="space", space_sdk="gradio", private=not public, exist_ok=True)
            )
            retry_when_limited(
                lambda: api.upload_folder(
                    repo_id=space,
                    repo_type="space",
                    folder_path=folder,
                    commit_message=f"Page of {dataset}",
                    delete_patterns=[f"{package}/**" for package in PACKAGES],
                )
            )
            private = bool(retry_when_limited(lambda: api.space_info(space)).private)
    return f"{api.endpoint}/spaces/{space}", private


def _repository(source: str, org: str, name: str) -> str:
    check_org(org)
    match = HF_URL.fullmatch(source)
    return match[1] if match else f"{org}/{name}"


def _copy_code(package: Path, to: Path) -> None:
    """Copies code, templates and texts of a package; no models, examples or caches."""
    for path in sorted(package.rglob("*")):
        place = path.relative_to(package)
        if path.is_symlink():  # what it points to may be anywhere on this machine
            continue
        if path.suffix in _CODE and "__pycache__" not in place.parts and "examples" not in place.parts:
            (to / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to / place)


def pins() -> dict[str, str]:
    """Names and versions of what the Space installs: all that the packages of the project declare, and the page's."""
    declared, explore, gradio = (dict(_PIN.findall((ROOT / name).read_text("utf-8"))) for name in REQUIREMENTS)
    page = explore | gradio
    return declared | {name: page[name] for name in PAGE} | OTHER_PINS


def requirements() -> str:
    """`requirements.txt` of the Space."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins().items(), key=lambda pin: pin[0].lower()))


def card(repository: str, model: str) -> str:
    """`README.md` of the Space: the front matter that the Hub reads, and one paragraph."""
    name = repository.partition("/")[2]
    data: JSON = {
        "title": f"{name} Explorer",
        "colorFrom": "indigo",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": pins()["gradio"],
        "python_version": PYTHON,
        "app_file": "app.py",
        "suggested_hardware": HARDWARE,
        "pinned": False,
        "license": "apache-2.0",  # of the code; the card of the dataset names its own
        "short_description": "Type a sentence, find the second of the video",
        "datasets": [repository],
        "tags": ["video-embeddings", "moment-retrieval"],
    }
    if "/" in model:
        data["models"] = [model]
    front = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return (
        f"---\n{front}---\n\n# {name} Explorer\n\nSearch the embeddings of "
        f"[{repository}](https://huggingface.co/datasets/{repository}) by a sentence, an image or a moment of a video. "
        "The videos themselves are not part of the Space. If the dataset is private, add a token that may read it as "
        "the secret `HF_TOKEN`.\n"
    )


def application(repository: str) -> str:
    """`app.py` of the Space."""
    return f'''"""The explorer of {repository}, as a Space."""

from explorer.page.server import serve_space

serve_space({f"hf://datasets/{repository}"!r})
'''
