"""The steps that are killed, from raw videos to the Hub, with what each needs before it starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kills.runs import Step

NAME = "CLIP-Test"
HUB_SERVER = Path(__file__).resolve().parent.parent / "hub" / "hub_server.py"

Prepare = Callable[[Path], object]


def new_folder(folder: Path) -> None:
    folder.mkdir(parents=True)


def copy_of(source: Path) -> Prepare:
    return lambda folder: shutil.copytree(source, folder)


def encode(raw: Path, model: object, workers: int, module: str = "preprocess") -> Step:
    """`module` is `preprocess`, or `tests.kills.two_devices` for the engine of GPUs."""

    def command(folder: Path) -> Sequence[object]:
        options = ("--name", NAME, "--model", model, "--workers", workers)
        return ("-m", module, "encode", "folder", "--raw", raw, "--out", folder, *options)

    return Step(f"{module} encode, {workers} workers", command, new_folder)


def pack(encoded: Path, workers: int) -> Step:
    def command(folder: Path) -> Sequence[object]:
        options = ("--name", NAME, "--per-shard", 2, "--workers", workers)
        return ("-m", "preprocess", "shards", "folder", "--out", folder, *options)

    return Step(f"pack, {workers} workers", command, copy_of(encoded), workers=workers > 1)


def of_cards(command: str, before: Path) -> Step:
    """`evaluate` or `card`."""
    return Step(
        command,
        lambda folder: ("-m", "dataset_cards", command, "folder", "--out", folder, "--name", NAME),
        copy_of(before),
        workers=False,
    )


def frames(raw: Path, workers: int) -> Step:
    def command(folder: Path) -> Sequence[object]:
        return ("-m", "preprocess", "frames", "folder", "--raw", raw, "--out", folder, "--workers", workers)

    return Step(f"frames, {workers} workers", command, new_folder)


class Hubs:
    """One empty Hub for each folder that is pushed."""

    def __init__(self) -> None:
        self._addresses: dict[Path, str] = {}
        self._servers: list[subprocess.Popen[str]] = []

    def start(self, folder: Path) -> None:
        log = folder.parent / "requests.jsonl"
        server = subprocess.Popen([sys.executable, HUB_SERVER, log], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        self._addresses[folder] = server.stdout.readline().strip()
        self._servers.append(server)

    def environment(self, folder: Path) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self._addresses[folder],
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_TOKEN": "hf_writer",
        }

    def content(self, folder: Path) -> object:
        """The files of the repository, and its versions."""
        asked = ("/tree/main?recursive=1", "/refs")
        tree, refs = (self._get(folder, f"/api/datasets/org/{NAME}{path}") for path in asked)
        return sorted((file["path"], file["oid"]) for file in tree), sorted(tag["name"] for tag in refs["tags"])

    def _get(self, folder: Path, path: str) -> object:
        request = urllib.request.Request(self._addresses[folder] + path, headers={"Authorization": "Bearer hf_writer"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def stop(self) -> None:
        for server in self._servers:
            server.terminate()
            server.wait()


def push(packed: Path, hubs: Hubs) -> Step:
    def prepare(folder: Path) -> None:
        shutil.copytree(packed, folder)
        hubs.start(folder)

    def command(folder: Path) -> Sequence[object]:
        return ("-m", "builders", "push", folder / NAME, "--org", "org")

    return Step("push", command, prepare, environment=hubs.environment, more=hubs.content)


def long_video(name: str, before: Path | None, *options: object, workers: int = 0) -> Step:
    """A step of `long-video` on a copy of what the steps before it made."""
    more = ("--workers", workers) if workers else ()
    return Step(
        f"long-video {name}{f', {workers} workers' if workers else ''}",
        lambda folder: ("-m", "preprocess", "long-video", name, folder, *options, *more),
        new_folder if before is None else copy_of(before),
        workers=bool(workers),
    )


def long_demo() -> Step:
    def command(folder: Path) -> Sequence[object]:
        return ("-m", "preprocess", "long-video", "demo", "--out", folder, "--seconds", "3")

    return Step("long-video demo", command, new_folder)
