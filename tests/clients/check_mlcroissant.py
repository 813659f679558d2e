"""What the Hub would say in Croissant of our data, by the Hub's own code, as `mlcroissant` validates and reads it.

The Hub's dataset viewer makes the metadata from the features of a config. For the Parquet of rows, `mlcroissant` also
reads the records, from files placed as the Hub places its Parquet files. For the tars it has every column but `npy`:
the viewer's code has no branch for `Array2D`. It names a field `split` itself, so `mlcroissant` warns of two.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import mlcroissant
from datasets import load_dataset
from exported import builders, compare_rows

REQUIREMENTS = ("mlcroissant", "datasets", "gitpython")
REPOSITORY = "huggingface/dataset-viewer"

folder, expected, checkout = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
SPLITS = ("train", "validation", "test")


def viewer() -> ModuleType:
    """The viewer's module of Croissant. What it imports of the viewer's services, for its queue and cache, is empty."""

    def load(name: str, path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    unused: dict[str, dict[str, Any]] = {
        "libcommon": {},
        "libcommon.constants": {"CROISSANT_MAX_CONFIGS": 100},
        "libcommon.exceptions": {"PreviousStepFormatError": Exception},
        "libcommon.simple_cache": {"get_previous_step_or_raise": None},
        "worker": {},
        "worker.dtos": {"CompleteJobResult": object},
        "worker.job_runners": {},
        "worker.job_runners.dataset": {},
        "worker.job_runners.dataset.dataset_job_runner": {"DatasetJobRunner": object},
    }
    for name, content in unused.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    load("libcommon.croissant_utils", checkout / "libs/libcommon/src/libcommon/croissant_utils.py")
    return load("crumbs", checkout / "services/worker/src/worker/job_runners/dataset/croissant_crumbs.py")


def croissant(features: Any) -> dict[str, Any]:
    """The metadata of a dataset with one config; name and address are what the Hub adds to the viewer's part."""
    info = {"config_name": "default", "features": features.to_dict(), "splits": dict.fromkeys(SPLITS)}
    made = viewer().get_croissant_crumbs_from_dataset_infos("me/CLIP-Shapes", [info], False, False)
    return {**made, "name": "CLIP-Shapes", "description": "", "url": "https://huggingface.co/datasets/me/CLIP-Shapes"}


def fields(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (records,) = (one for one in metadata["recordSet"] if one["@id"] == "default")
    return {field["@id"].removeprefix("default/"): field for field in records["field"]}


def validated(metadata: dict[str, Any], **options: Any) -> mlcroissant.Dataset:
    dataset = mlcroissant.Dataset(jsonld=metadata, **options)
    assert not list(dataset.metadata.ctx.issues.errors), dataset.metadata.ctx.issues.report()
    return dataset


with TemporaryDirectory() as temporary:
    out = Path(temporary, "rows")
    builders("parquet", folder, "--out", out)
    for split in SPLITS:
        for file in sorted(out.glob(f"{split}-*.parquet")):
            place = Path(temporary, "hub/default", split, file.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    metadata = croissant(load_dataset(str(out), split="train", cache_dir=f"{temporary}/cache").features)
    dim = next(iter(expected["train"].values()))["shape"][1]
    embedding = fields(metadata)["embedding"]
    assert (embedding["dataType"], embedding["isArray"], embedding["arrayShape"]) == ("cr:Float16", True, str(dim))
    dataset = validated(metadata, mapping={"repo": f"{temporary}/hub"})
    rows = []
    for record in dataset.records("default"):
        row = {name.removeprefix("default/"): value for name, value in record.items()}
        rows.append({k: v.decode() if isinstance(v, bytes) else v for k, v in row.items()})
    rows.sort(key=lambda row: SPLITS.index(row["split"]))  # it lists the files by name; the sort is stable
    compare_rows(rows, expected)

    tars = croissant(load_dataset(folder, split="train", cache_dir=f"{temporary}/cache").features)
    assert set(fields(tars)) == {"split", "txt", "json", "__key__", "__url__"}
    validated(tars)
