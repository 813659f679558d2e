"""What is written appears whole: every call that writes is one of `preprocess.storage`, or is listed with a reason.

A file that was written in place is half a file after a kill, and looks like a whole one to the next run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("preprocess", "builders", "dataset_cards", "explorer", "tools", "ved")
STORAGE = "preprocess.storage"

ALLOWED = {
    # Into a folder or under a name that `storage` publishes when it is complete.
    "preprocess.demo.render.write_video: av.open": "under the name that atomic_path gives",
    "preprocess.encoders.openvino_forward._convert: save_model": "into the folder that atomic_folder publishes",
    "preprocess.long_video.demo._save: save_pretrained": "into the folder that atomic_folder publishes",
    "builders.parquet_rows._write_file: ParquetWriter": "into the folder that atomic_folder publishes",
    "builders.parquet_rows._write_file: write_table": "into the folder that atomic_folder publishes",
    "builders.temporal.records.write_npy: np.save": "into memory",
    "builders.temporal.records.write_npz: np.savez": "into memory",
    "explorer.approximate.ApproximateShortlist.__init__: write_index": "under the name that atomic_path gives",
    "explorer.make_index.make_index: np.save": "into the folder that atomic_folder publishes",
    "explorer.make_index._write_rows: open": "into the folder that atomic_folder publishes",
    "explorer.make_index._write_rows: OSFile": "into the folder that atomic_folder publishes",
    "explorer.space.write_space: copytree": "into the folder that atomic_folder publishes",
    "explorer.space.write_space: write_text": "into the folder that atomic_folder publishes",
    "explorer.space._copy_code: copyfile": "into the folder that atomic_folder publishes",
    "tools.tiny_clip.train.main: save_pretrained": "into a temporary folder; the files are published one by one",
    "tools.tiny_clip.train.main: write_text": "into a temporary folder; the files are published one by one",
    "preprocess.exports.frames.write_frames: rename": "publishes a folder of frames when all of them are written",
    "preprocess.exports.frames._write_rows: save": "into the temporary folder of a video",
    "preprocess.exports.frames._write_rows: copyfile": "into the temporary folder of a video",
    "preprocess.media.fetch._copy_cell: write_bytes": "into the temporary folder of a video",
    # Into memory; the bytes are passed to write_atomic or to a browser.
    "preprocess.exports.contact_sheet.contact_sheet: save": "into memory",
    "preprocess.long_video.tensors.save_tensor: torch.save": "into memory",
    "dataset_cards.thumbnails._keep: np.savez": "into memory",
    "dataset_cards.figures.style.png_bytes: savefig": "into memory",
    "explorer.page.media.Media._thumbnail: save": "into memory",
    "preprocess.long_video.text.save_scene_tokens: save": "to bytes",
    "preprocess.pipeline.ledger.Ledger.rewrite: replace": "of AppendLog, which writes with storage",
    "preprocess.pipeline.journal.Journal.rewrite: replace": "of AppendLog, which writes with storage",
    # Files that are there to be half-written.
    "preprocess.download.http._receive: open": "what has arrived of a download, continued by the next run",
    "preprocess.download.run._obtain: touch": "a mark without content",
    "preprocess.append_log.AppendLog.append: open": "a log of lines; a line that is cut off is dropped when it is read",
    "preprocess.run_files.exclusive: open": "a lock, without content",
    "preprocess.encoders.openvino_forward._only_one: open": "a lock, without content",
    "preprocess.long_video.folder.Folder.only_run: open": "a lock, without content",
    "preprocess.temporary._lock: open": "a lock, without content",
    "preprocess.long_video.devices.claim_device: open": "a lock in a temporary folder",
    "preprocess.console._printed_whole: os.open": "the null device",
    "preprocess.pipeline.frame_channel": "frames between processes, in shared memory",
}

WRITERS = frozenset(
    {
        *("write_text", "write_bytes", "touch", "save_pretrained", "savefig", "save", "save_file", "save_model"),
        *(
            "tofile",
            "savez",
            "savez_compressed",
            "savetxt",
            "to_parquet",
            "to_csv",
            "to_pickle",
            "write_table",
            "ParquetWriter",
        ),
        *("write_index", "write_image", "imwrite", "OSFile", "FileIO", "open_memmap", "symlink_to", "hardlink_to"),
        *("copy", "copy2", "copyfile", "copytree", "move", "rename", "renames", "link", "symlink", "write_videofile"),
    }
)
_OWNERS = {"copy": "shutil", "copy2": "shutil", "move": "shutil", "link": "os", "symlink": "os"}
"""Of names that are too common, the module that the call has to be of."""


def writes(call: ast.Call) -> str | None:
    """The name of a call that writes a file; None for others."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    if name in ("open", "fdopen", "TarFile", "ZipFile", "memmap", "File"):
        constants = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
        modes = [c for c in constants if isinstance(c, str) and len(c) <= 4 and c and set(c) <= set("rwxabt+:gz2")]
        flags = {a.attr for a in ast.walk(call) if isinstance(a, ast.Attribute)} & {"O_WRONLY", "O_RDWR", "O_CREAT"}
        if not flags and not any(set(mode) & set("wxa+") for mode in modes):
            return None
    elif name == "replace" and len(call.args) == 1 + (owner == "os") and not call.keywords:
        return f"{owner}.replace" if owner else "replace"  # of a path; strings take two
    elif name not in WRITERS or (name in _OWNERS and owner != _OWNERS[name]):
        return None
    return f"{owner}.{name}" if owner in ("av", "np", "torch", "os", "tarfile") else name


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Qualified name and node of everything at the top of a module, and of the methods of its classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield f"{node.name}.{getattr(inner, 'name', '')}", inner
        else:
            yield getattr(node, "name", ""), node


def found(root: Path) -> set[str]:
    """`module.function: call` of every call that writes outside of the storage package."""
    calls = set()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if module.startswith(STORAGE):
                continue
            for name, node in functions(ast.parse(path.read_text("utf-8"))):
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and (kind := writes(call)):
                        calls.add(f"{module}.{name}: {kind}")
    return calls


def test_every_writer_publishes_whole_or_is_listed(root: Path) -> None:
    calls = found(root)
    unlisted = {call for call in calls if not any(call == key or call.startswith(f"{key}.") for key in ALLOWED)}
    assert not unlisted, "write with storage.write_atomic, atomic_file, atomic_path or atomic_folder"
    stale = {key for key in ALLOWED if not any(call == key or call.startswith(f"{key}.") for call in calls)}
    assert not stale, "these writers are gone"


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'w')",
        "path.open(mode='xb')",
        "io.open(path, 'r+')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "path.write_text('x')",
        "model.save_pretrained(folder)",
        "np.save(path, a)",
        "table.to_parquet(path)",
        "partial.replace(path)",
        "os.replace(a, b)",
        "shutil.copy(a, b)",
        "av.open(path, 'w')",
        "tarfile.open(path, 'w:gz')",
        "image.save(path)",
    ],
)
def test_a_writer_is_found(code: str) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert writes(call)


@pytest.mark.parametrize("code", ["open(path)", "path.open('rb')", "text.replace('a', 'b')", "a.copy()", "av.open(p)"])
def test_others_are_not(code: str) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert writes(call) is None
