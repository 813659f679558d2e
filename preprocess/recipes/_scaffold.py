"""`make new DATASET=name`: a recipe that works, to edit, with its prose and its fixture.

The conformance suite passes on what is written here, so that a new dataset starts from green.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from preprocess.errors import UserError

RECIPE = Template('''"""`$name`: what the dataset is, in one line. A row of its annotation file:

    video,caption,split
    clip_0001,a dog catches a ball,train
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import claim, read_csv, text
from preprocess.recipes._files import RawFiles
from preprocess.recipes._splits import in_order, split_named
from preprocess.samples import DatasetSpec, RecipeOptions, RemoteFile, Sample, safe_key

SPEC = DatasetSpec(
    name="$name",
    hub_name="$hub_name",
    license="unknown",  # an id that the Hub knows
    citation="""
@misc{$name,
  title = {$name},
  author = {Nobody Yet},
  year = {2026}
}
""".strip(),
    homepage="https://example.org/$name",
    languages=("en",),
    task_categories=("feature-extraction", "text-to-video"),
    raw_layout="""
RAW/
├── captions.csv    video,caption,split
└── videos/clip_0001.mp4
""",
    remotes=(RemoteFile("https://example.org/$name/captions.csv", "captions.csv"),),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per row of captions.csv."""
    files = RawFiles.list(raw, SPEC)
    table = files.annotation("captions.csv")
    taken: dict[str, str] = {}

    def sample(line: int, row: dict[str, str]) -> Sample:
        where, video = f"line {line}", row["video"]
        claim(taken, video, table, where)
        split = split_named(row["split"])
        if split is None:
            raise AnnotationError(table, where, f"split is {row['split']!r}", "train, val or test")
        return Sample(
            key=safe_key(video),
            split=split,
            media=files.stem(video) or f"videos/{safe_key(video)}.mp4",  # where it would be: a reject "missing"
            captions=(text(row["caption"], table, where),),
            meta={"videoID": video},
        )

    yield from in_order(sample(line, row) for line, row in read_csv(table, ("video", "caption", "split")))
''')

CARD = Template("""Embeddings of the videos of $name, one row per sampled frame, as the model gave them, in the order of
the frames.

Say here in a few sentences what the source dataset is, who made it and from what, how its captions or labels came
about, what it is used for, and what its licence means for these embeddings. Numbers are computed and stand elsewhere
on the page.
""")

FIXTURE = Template('''"""Three videos in the layout of `$name`, as text and empty files."""

from __future__ import annotations

from pathlib import Path

BREAKABLE = ("captions.csv",)
REQUIRED = (("captions.csv",),)
LISTS_MEDIA = True


def make(raw: Path) -> Path:
    (raw / "videos").mkdir(parents=True)
    for name in ("clip_0001", "clip_0002", "clip 3"):
        (raw / f"videos/{name}.mp4").touch()
    (raw / "captions.csv").write_text(
        "video,caption,split\\n"
        "clip_0001,a dog catches a ball,train\\n"
        'clip_0002,"a dog, asleep",val\\n'
        "clip 3,a dog barks,test\\n",
        encoding="utf-8",
    )
    return raw
''')


def scaffold(name: str, root: Path) -> list[Path]:
    """Writes recipe, card prose and fixture of a new dataset.

    Args:
        name: A module name, which becomes the dataset's name on the command line.
        root: The repository's root.

    Returns:
        The files written, in the order in which to edit them.

    Raises:
        UserError: The name is no module name, or one of the files exists; nothing is written then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} cannot be the name of a dataset",
            "Use up to 50 lower-case letters, digits and _, with a letter first: make new DATASET=my_videos",
        )
    hub_name = "CLIP-" + "-".join(word.capitalize() for word in name.split("_") if word)
    templates = {
        root / "preprocess" / "recipes" / f"{name}.py": RECIPE,
        root / "dataset_cards" / f"{name}.md": CARD,
        root / "tests" / "recipes" / "fixtures" / f"{name}.py": FIXTURE,
    }
    for path in templates:
        if path.exists():
            raise UserError(f"{path.relative_to(root)} exists already", "Edit it, or choose another name.")
    for path, template in templates.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(template.substitute(name=name, hub_name=hub_name))
    return list(templates)
