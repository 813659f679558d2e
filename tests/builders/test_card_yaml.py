"""The front matter: what is written reads back with the libraries' own readers, and bad ids are found offline."""

from __future__ import annotations

import dataclasses

import pytest
from datasets import Array2D, Image, List, Value
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from builders.card_yaml import card_data, check_front_matter, front_matter, read_front_matter, size_category
from builders.json_types import MetaTypes, add_meta
from preprocess.recipes import load
from preprocess.samples import DatasetSpec, ShardReport

SPEC = DatasetSpec(
    name="demo",
    title="Shapes",
    license="apache-2.0",
    citation="",
    homepage="",
    languages=("en", "no"),
    task_categories=("video-classification", "text-retrieval"),
    raw_layout="",
)
SHARDS = (
    ShardReport("ds_00000.tar", "train", 10_000, 99_000, 120_000_000, "00"),
    ShardReport("ds_00001.tar", "train", 17, 170, 5_120, "01"),
    ShardReport("ds_00002.tar", "val", 3, 30, 4_096, "02"),
)
TYPES: MetaTypes = {}
add_meta(TYPES, {"key": "video_1", "timestamps": [0.0, 1.0]})
PREVIEW = (ShardReport("preview/preview_00000.tar", "train", 8, 80, 2_048, "03"),)


def text(**changes: object) -> str:
    return front_matter(card_data(SPEC, SHARDS, dim=512, dtype="float16", types=TYPES, **changes)) + "\n# CLIP-Shapes\n"


def test_configs_and_splits_are_what_datasets_reads():
    data = DatasetCard(text()).data
    assert MetadataConfigs.from_dataset_card_data(data)["default"]["data_files"] == [
        {"split": "train", "path": ["ds_00000.tar", "ds_00001.tar"]},
        {"split": "validation", "path": ["ds_00002.tar"]},
    ]
    info = DatasetInfosDict.from_dataset_card_data(data)["default"]
    assert info.features == {
        "npy": Array2D(shape=(None, 512), dtype="float16"),
        "txt": Value("string"),
        "json": {"key": Value("string"), "timestamps": List(Value("float64"))},
        "__key__": Value("string"),
        "__url__": Value("string"),
    }
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 10_017, "validation": 3}
    assert info.splits["train"].num_bytes == 120_005_120
    assert info.download_size == info.dataset_size == 120_009_216
    assert data.size_categories == "10K<n<100K"


def test_preview_is_a_second_config_and_default_stays_the_default():
    data = read_front_matter(text(preview=PREVIEW))
    configs = MetadataConfigs.from_dataset_card_data(data)
    assert sorted(configs) == ["default", "preview"]
    assert configs.get_default_config_name() == "default"
    infos = DatasetInfosDict.from_dataset_card_data(data)
    assert infos["preview"].features["jpg"] == Image()
    assert infos["preview"].splits["train"].num_examples == 8
    assert check_front_matter(data) == []


def test_what_is_written_passes_the_check():
    assert check_front_matter(read_front_matter(text())) == []


def test_norwegian_stays_a_language():
    """Unquoted `no` is False in YAML 1.1."""
    assert read_front_matter(text()).language == ["en", "no"]
    assert "language False is not an id" in check_front_matter(read_front_matter(text().replace("'no'", "no")))[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("license: apache-2.0", "license: mitt"), "license 'mitt' is not an id"),
        (("- text-retrieval", "- text-retrieving"), "task_categories 'text-retrieving' is not an id"),
        (("size_categories: 10K<n<100K", "size_categories: 10K<n<99K"), "size_categories '10K<n<99K' is not an id"),
        (("license: apache-2.0\n", ""), "license is missing"),
        (("configs:", "configurations:"), "configs is missing"),
        (("dataset_info:", "dataset_infos:"), "dataset_info is missing"),
        (("list: float64", "list: float65"), "dataset_info is not what `datasets` reads"),
        (("split: validation", "split: dev-set"), "configs is not what `datasets` reads"),
    ],
)
def test_each_bad_field_is_named(change: tuple[str, str], problem: str):
    broken = text().replace(*change)
    assert broken != text()
    assert any(line.startswith(problem) for line in check_front_matter(read_front_matter(broken)))


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("# no front matter\n", "does not begin with"),
        ("---\nlicense: [mit\n---\n", "does not parse"),
        ("---\nlicense: mit\nlicense: other\n---\n", "duplicate key 'license'"),
        ("---\n- mit\n---\n", "not a mapping"),
        ("---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\n", "aliases are not allowed"),
    ],
)
def test_unreadable_front_matter_says_why(broken: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        read_front_matter(broken)


def test_a_caption_of_yaml_in_the_name_stays_a_string():
    name = "a: b # [c] 'd' \"e\" ---\n--- no"
    assert read_front_matter(text(pretty_name=name)).pretty_name == name


@pytest.mark.parametrize(
    ("samples", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (536_499, "100K<n<1M"), (10**6, "1M<n<10M"), (10**12, "n>1T")],
)
def test_size_category(samples: int, category: str):
    assert size_category(samples) == category


def test_other_license_gets_a_name_and_an_address():
    spec = DatasetSpec("msr", "CLIP-X", "other", "", "https://example.org/terms", ("en",), ("other",), "")
    data = card_data(spec, SHARDS, dim=512, dtype="float32", types=TYPES)
    assert (data["license_name"], data["license_link"]) == ("msr-terms", "https://example.org/terms")


def test_creators_are_emitted_where_they_are_known():
    data = card_data(SPEC, SHARDS, dim=512, dtype="float16", types=TYPES)
    assert (data["multilinguality"], data["annotations_creators"], data["language_creators"]) == (
        "multilingual",
        None,
        None,
    )
    assert "creators" not in front_matter(data)
    known = dataclasses.replace(SPEC, languages=("en",), annotations_creators=("crowdsourced",))
    again = read_front_matter(front_matter(card_data(known, SHARDS, dim=512, dtype="float16", types=TYPES)))
    assert (again["multilinguality"], again["annotations_creators"]) == ("monolingual", ["crowdsourced"])
    assert check_front_matter(again) == []
    wrong = dataclasses.replace(SPEC, language_creators=("us",))
    problems = check_front_matter(card_data(wrong, SHARDS, dim=512, dtype="float16", types=TYPES))
    assert problems == ["language_creators 'us' is not an id that the Hub knows"]


@pytest.mark.parametrize("name", ["demo", "msrvtt", "kinetics700", "caltech101"])
def test_the_creators_of_recipes_are_ids_of_the_hub(name: str):
    spec = load(name).SPEC
    assert spec.annotations_creators
    assert check_front_matter(card_data(spec, SHARDS, dim=512, dtype="float16", types=TYPES)) == []


def test_a_dtype_that_is_not_ours_is_refused():
    with pytest.raises(ValueError, match="float64"):
        card_data(SPEC, SHARDS, dim=512, dtype="float64", types=TYPES)
