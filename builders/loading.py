"""The code under "How to Load" of a card: each block runs as it is, in the folder that holds `data/` or from the Hub.

    from datasets import load_dataset

    dataset = load_dataset("data/CLIP-Shapes")

A card is written before it is known where the dataset will be published, so `push` sets the address in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from builders.card_yaml import HUB_SPLITS
from preprocess.errors import UserError
from preprocess.formats.manifest import Manifest
from preprocess.samples import SPLITS, ShardReport

HUB_URL = "https://huggingface.co/datasets"
LOCAL = "data/"
"""What a local address begins with: the default output folder."""

_ADDRESS = re.compile(r'\bload_dataset\("([^"\n]+)"')


@dataclass(frozen=True, slots=True)
class Snippets:
    """Blocks of Python; `collate` and `current` continue `plain`."""

    plain: str
    current: str
    streaming: str
    collate: str
    preview: str
    webdataset: str
    clip_video_encode: str
    torch: str


def snippets(address: str, shards: Sequence[ShardReport]) -> Snippets:
    """The blocks for one dataset.

    Args:
        address: `org/name` on the Hub, or a local folder, `data/name`.
        shards: All shards, in order.
    """
    local = address.startswith(LOCAL)
    base = address if local else f"{HUB_URL}/{address}/resolve/main"
    source = address if local else f"hf://datasets/{address}"
    splits = [HUB_SPLITS[split] for split in SPLITS if any(shard.split == split for shard in shards)]
    files = [shard.file for shard in shards if HUB_SPLITS[shard.split] == splits[0]]
    tars = f"{base}/{braces(files)}"
    workers = min(2, len(files))  # a worker without a tar is an error in webdataset
    return Snippets(
        plain=f"""\
from datasets import load_dataset

dataset = load_dataset("{address}")  # splits: {", ".join(splits)}
sample = dataset["{splits[0]}"].with_format("numpy")[0]
sample["npy"].shape, sample["txt"], sample["json"]["key"]
""",
        current=f"""\
import json
import fsspec

with fsspec.open("{source}/manifest.json") as file:
    generations = json.load(file)["generations"]
replaced = {{row for generation in generations for row in generation["replaced"]}}
dataset = dataset.filter(lambda row: row not in replaced, input_columns="__key__")
""",
        streaming=f"""\
from datasets import load_dataset

stream = load_dataset("{address}", split="{splits[0]}", streaming=True)
sample = next(iter(stream))
""",
        collate=f"""\
import torch
from torch.nn.utils.rnn import pad_sequence

def collate(samples):
    vectors = [torch.as_tensor(sample["npy"]) for sample in samples]
    lengths = torch.tensor([len(v) for v in vectors])
    return {{
        "embeddings": pad_sequence(vectors, batch_first=True),  # (B, T, D)
        "mask": torch.arange(lengths.max()) < lengths[:, None],  # (B, T), False where padded
        "text": [sample["txt"] for sample in samples],
    }}

rows = dataset["{splits[0]}"].with_format("numpy")
loader = torch.utils.data.DataLoader(rows, batch_size=64, shuffle=True, collate_fn=collate)
""",
        preview=f"""\
from datasets import load_dataset

sheets = load_dataset("{address}", "preview")
sheet = next(iter(next(iter(sheets.values()))))
sheet["jpg"], sheet["txt"], sheet["__key__"]
""",
        webdataset=f"""\
import webdataset as wds

tars = "{tars}"
dataset = wds.WebDataset(tars, shardshuffle=False).decode().to_tuple("npy", "txt", "json")
embeddings, text, meta = next(iter(dataset))
""",
        clip_video_encode=f"""\
from clip_video_encode.dataset import EmbeddingWebDatasetReader

tars = "{tars}"
reader = EmbeddingWebDatasetReader(tars, standard_seq_len=200, batch_size=64, num_prepro_workers={workers})
batch = next(iter(reader))
batch["embeddings"], batch["zero_mask"], batch["text"]  # the mask is 0 where padded
""",
        torch=f"""\
from builders.torch_reader import EmbeddingReader

reader = EmbeddingReader("{source}", "{splits[0]}", batch_size=64, length=16, shuffle=True)
batch = next(iter(reader.loader()))
batch["embeddings"], batch["mask"], batch["text"], batch["meta"]  # the mask is False where padded
""",
    )


def set_address(readme: str, manifest: Manifest, repo_id: str) -> str:
    """The card with the code that loads the dataset from `repo_id`; a card without such code stays as it is.

    Raises:
        UserError: The code was edited by hand and loads the dataset from another place.
    """
    found = _ADDRESS.search(readme)
    if found is None or found[1] == repo_id:
        return readme
    shards = [ShardReport(**row) for row in manifest["shards"]]
    for old, new in zip(astuple(snippets(found[1], shards)), astuple(snippets(repo_id, shards)), strict=True):
        readme = readme.replace(old.rstrip("\n"), new.rstrip("\n"))
    if other := {address for address in _ADDRESS.findall(readme) if address != repo_id}:
        raise UserError(
            f"README.md loads the dataset from {sorted(other)[0]!r}, not from {repo_id!r}",
            "Write the card again (python -m dataset_cards card), or change the address by hand.",
        )
    return readme


def braces(files: Sequence[str]) -> str:
    """The names as one pattern that `webdataset` expands.

    Examples:
        >>> braces(["ds_00000.tar", "ds_00001.tar"])
        'ds_{00000..00001}.tar'
        >>> braces(["ds_00007.tar"])
        'ds_00007.tar'
    """
    if len(files) == 1:
        return files[0]
    low, high = (re.fullmatch(r"(.*?)(\d+)(\.tar)", name) for name in (files[0], files[-1]))
    if low and high and low[1] == high[1] and int(high[2]) - int(low[2]) == len(files) - 1:
        return f"{low[1]}{{{low[2]}..{high[2]}}}{low[3]}"
    return "{" + ",".join(files) + "}"
