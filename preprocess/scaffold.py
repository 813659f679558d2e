"""`make new DATASET=name`: a recipe that works, to edit, with its prose and its fixture.

The generated files pass the conformance suite before they are edited.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from preprocess.errors import UserError
from preprocess.storage import write_atomic

PLACEHOLDERS = ("Replace Me", "https://example.org/replace-me", "Replace this paragraph")
"""Texts that must not be published: `verify` finds them in a card."""

RECIPE = Template('''"""`$name`: what the dataset is, in one line. A row of its annotation file:

    video,caption,split
    clip_0001,a dog catches a ball,train
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import claim, read_csv, text
from preprocess.readers.files import RawFiles
from preprocess.readers.splits import in_order, split_named
from preprocess.samples import DatasetSpec, RecipeOptions, RemoteFile, Sample, safe_key

SPEC = DatasetSpec(
    name="$name",
    title="$title",
    license="unknown",  # an id that the Hub knows
    citation="""
@misc{$name,
  title = {$name},
  author = {Replace Me},
  year = {2026}
}
""".strip(),
    homepage="https://example.org/replace-me",
    languages=("en",),
    task_categories=("feature-extraction", "text-to-video"),
    raw_layout="""
RAW/
├── captions.csv    video,caption,split
└── videos/clip_0001.mp4
""",
    remotes=(  # what make download shows and fetches; see RemoteFile for archives, and pages to visit
        RemoteFile("https://example.org/replace-me/captions.csv", "captions.csv"),
        RemoteFile("https://example.org/replace-me/videos.zip", "videos/", kind="archive", gives=("clip_*.mp4",)),
    ),
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

CARD = Template("""Embeddings of the videos of $name: one row per sampled frame, as computed by the model, in the order
of the frames.

Replace this paragraph with a few sentences on what the source dataset is, who made it and from what, how its captions
or labels were collected, what it is used for, and what its license means for these embeddings. Numbers are computed and
shown elsewhere on the page. Sections with the headings Uses, Limitations, Personal Information and Contact are shown in
their place.
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
        UserError: The name is not a module name, or one of the files exists and was edited; nothing is written then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} cannot be the name of a dataset",
            "Use up to 50 lower-case letters, digits and _, with a letter first: make new DATASET=my_videos",
        )
    title = "-".join(word.capitalize() for word in name.split("_") if word)
    templates = {
        root / "preprocess" / "recipes" / f"{name}.py": RECIPE,
        root / "dataset_cards" / f"{name}.md": CARD,
        root / "tests" / "recipes" / "fixtures" / f"{name}.py": FIXTURE,
    }
    texts = {path: template.substitute(name=name, title=title).encode() for path, template in templates.items()}
    there = [path for path in texts if path.exists()]
    for path in there:
        # A run that was interrupted left some of the files; it is completed.
        if len(there) == len(texts) or path.read_bytes() != texts[path]:
            raise UserError(f"{path.relative_to(root)} already exists", "Edit it, or choose another name.")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    return list(texts)
