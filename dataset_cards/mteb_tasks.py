"""A packed dataset as tasks of MTEB, and its vectors as the model that MTEB evaluates (`pip install mteb`).

    import mteb
    from dataset_cards.mteb_tasks import PackedEncoder, packed_tasks

    data = "data/CLIP-Shapes"
    results = mteb.evaluate(PackedEncoder(data), packed_tasks(data), cache=None)

MTEB's runner, metrics and task types are used as they are: `VideoZeroshotClassification` and `VideoClassification`
where there are labels, `Any2AnyRetrieval` from captions to videos. Its video modality takes whatever the column
`video` of a task holds; here that is the `(T, D)` vectors of a sample, and the model turns them into their mean
direction, as the evaluation of the card does. Texts are encoded by the text tower of the model that made the vectors.
CLIP_benchmark reads images only: its WebDataset loader asks for .webp, .png, .jpg or .jpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from builders.packed import PackedDataset, PackedSample
from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.text import encoder_files
from preprocess.encoders import load_text_tower
from preprocess.errors import UnknownNameError, UserError
from preprocess.samples import Split

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

PROMPT = "a video of {}"
_MISSING = 'Install it into this environment: pip install "mteb>=2.20".'


class PackedEncoder:
    """The vectors of a dataset as a model of MTEB (its `EncoderProtocol`).

    Args:
        address: A folder, or `hf://datasets/<org>/<name>`.
        model: Folder of the model, if the manifest's name does not resolve to it.
    """

    def __init__(self, address: str, model: str | None = None) -> None:
        self.encoder = PackedDataset.open(address).manifest["encoder"]
        self._model = model
        self._tower: Any = None

    @property
    def mteb_model_meta(self) -> Any:
        """What MTEB notes about the model: its name, revision, and the length of a vector."""
        meta = _mteb().models.ModelMeta
        name = str(self.encoder["model"])
        return meta.create_empty(
            overwrites={
                "name": name if "/" in name else f"local/{name}",
                "revision": self.encoder.get("revision") or self.encoder["weights_sha256"],
                "embed_dim": self.encoder["dim"],
                "modalities": ["video", "text"],
            }
        )

    def encode(self, inputs: Iterable[dict[str, Any]], **options: Any) -> Matrix:
        """Vectors of the batches of MTEB: float32 `(N, D)`, L2-normalized.

        Args:
            inputs: Batches with `video`, the rows of each sample, or `text`.
            **options: What MTEB says about the task, which changes nothing.
        """
        found = [
            np.stack([_direction(rows) for rows in batch["video"]]) if "video" in batch else self._texts(batch["text"])
            for batch in inputs
        ]
        return np.concatenate(found)

    def similarity(self, one: Any, two: Any) -> torch.Tensor:
        """Cosine of each row of one with each of the other: `(N, M)`."""
        import torch

        return torch.as_tensor(one) @ torch.as_tensor(two).T

    def similarity_pairwise(self, one: Any, two: Any) -> torch.Tensor:
        """Cosine of the rows in the same place: `(N,)`."""
        import torch

        return (torch.as_tensor(one) * torch.as_tensor(two)).sum(dim=-1)

    def _texts(self, texts: Sequence[str]) -> Matrix:
        if self._tower is None:
            self._tower = load_text_tower(encoder_files(self.encoder, self._model))
        return unit(self._tower.encode(list(texts)))


def packed_tasks(address: str, split: Split = "test") -> list[Any]:
    """The tasks that a split is suited for.

    Args:
        address: A folder, or `hf://datasets/<org>/<name>`.
        split: Evaluated; classification also needs `train`.

    Raises:
        UserError: MTEB is not installed, or the split has neither labels nor captions that differ.
    """
    mteb = _mteb()
    dataset = PackedDataset.open(address)
    if split not in dataset.splits:
        raise UnknownNameError("split", split, dataset.splits)
    name = dataset.manifest["dataset"]
    samples = list(_read(dataset, split))
    labels = sorted({sample.label for sample in samples if sample.label is not None})
    captions = {caption for sample in samples for caption in _captions(sample)}
    tasks = []
    if len(labels) > 1:
        evaluated: dict[str, Dataset] = {split: _labeled(samples, labels)}
        metadata = _metadata(mteb, name, "VideoZeroshotClassification", "v2t", split, "accuracy")
        tasks.append(_zero_shot(mteb, metadata, lambda: evaluated, [PROMPT.format(label) for label in labels]))
        train = _labeled(_read(dataset, "train"), labels) if "train" in dataset.splits and split != "train" else None
        if train is not None and len(set(train["label"])) > 1:
            metadata = _metadata(mteb, name, "VideoClassification", "v2c", split, "accuracy")
            tasks.append(_classification(mteb, metadata, lambda: {"train": train, **evaluated}))
    if len(captions) > 1 and not captions <= set(labels):
        metadata = _metadata(mteb, name, "Any2AnyRetrieval", "t2v", split, "ndcg_at_10")
        tasks.append(_retrieval(mteb, metadata, samples, split))
    if not tasks:
        raise UserError(f"{split} of {address} has neither labels nor captions", "Choose another split.")
    return tasks


def _mteb() -> Any:
    try:
        import mteb
        import mteb.abstasks.retrieval_dataset_loaders
    except ImportError as error:
        raise UserError(f"mteb cannot be imported ({error})", _MISSING) from None
    return mteb


def _read(dataset: PackedDataset, split: Split) -> Iterator[PackedSample]:
    for shard in dataset.shards(split):
        yield from (sample for sample in dataset.samples(shard) if len(sample.vectors))


def _captions(sample: PackedSample) -> list[str]:
    return [str(caption) for caption in sample.meta.get("captions") or [sample.text]]


def _direction(rows: Any) -> Matrix:
    """The L2-normalized mean of the L2-normalized rows `(T, D)` of a sample."""
    direction: Matrix = unit(unit(np.asarray(rows, np.float32)).mean(axis=0))
    return direction


def _labeled(samples: Iterable[PackedSample], labels: Sequence[str]) -> Dataset:
    """The samples with one of the labels: `video`, and `label` as its number."""
    from datasets import Dataset

    known = [sample for sample in samples if sample.label in labels]
    numbers = {label: number for number, label in enumerate(labels)}
    columns = {"video": [sample.vectors for sample in known], "label": [numbers[str(s.label)] for s in known]}
    return Dataset.from_dict(columns)


def _metadata(mteb: Any, dataset: str, kind: str, category: str, split: str, score: str) -> Any:
    return mteb.abstasks.task_metadata.TaskMetadata(
        name=f"{dataset}-{kind}",
        description=f"{kind} on the vectors of {dataset}.",
        dataset={"path": dataset, "revision": "local"},
        type=kind,
        category=category,
        eval_splits=[split],
        eval_langs=["eng-Latn"],
        main_score=score,
        modalities=["video"] if category == "v2c" else ["video", "text"],
    )


def _zero_shot(mteb: Any, metadata: Any, read: Callable[[], dict[str, Dataset]], prompts: Sequence[str]) -> Any:
    class Task(mteb.abstasks.zeroshot_classification.AbsTaskZeroShotClassification):  # type: ignore[misc]
        input_column_name = "video"

        def load_data(self, *args: Any, **options: Any) -> None:
            self.dataset, self.data_loaded = read(), True

        def get_candidate_labels(self) -> list[str]:
            return list(prompts)

    Task.metadata = metadata
    return Task()


def _classification(mteb: Any, metadata: Any, read: Callable[[], dict[str, Dataset]]) -> Any:
    from datasets import DatasetDict

    class Task(mteb.abstasks.classification.AbsTaskClassification):  # type: ignore[misc]
        input_column_name = "video"

        def load_data(self, *args: Any, **options: Any) -> None:
            self.dataset, self.data_loaded = DatasetDict(read()), True

    Task.metadata = metadata
    return Task()


def _retrieval(mteb: Any, metadata: Any, samples: Sequence[PackedSample], split: str) -> Any:
    from datasets import Dataset

    class Task(mteb.abstasks.retrieval.AbsTaskRetrieval):  # type: ignore[misc]
        def load_data(self, *args: Any, **options: Any) -> None:
            relevant: dict[str, dict[str, int]] = {}
            queries: dict[str, str] = {}
            for caption, key in ((caption, sample.key) for sample in samples for caption in _captions(sample)):
                relevant.setdefault(queries.setdefault(caption, f"q{len(queries)}"), {})[key] = 1
            corpus = {"id": [sample.key for sample in samples], "video": [sample.vectors for sample in samples]}
            data = mteb.abstasks.retrieval_dataset_loaders.RetrievalSplitData(
                corpus=Dataset.from_dict(corpus),
                queries=Dataset.from_dict({"id": list(queries.values()), "text": list(queries)}),
                relevant_docs=relevant,
                top_ranked=None,
            )
            self.dataset, self.data_loaded = {"default": {split: data}}, True

    Task.metadata = metadata
    return Task()
