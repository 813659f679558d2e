"""`python -m explorer …`: search, page, space, filter. Parses, calls, prints."""

from __future__ import annotations

if __name__ == "__main__":
    from preprocess import interrupts

    interrupts.end_at_once()  # until `run` takes over

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.options import Approximate, Image, Label, Like, Opened, Source, SplitName, on_dataset
from preprocess.console import finite, new_app, run, table
from preprocess.options import MAX_COUNT, MAX_SEED

if TYPE_CHECKING:
    from explorer.index import Index
    from explorer.search import Searcher

app = new_app("Find the moment: search, explore and filter a built dataset; nothing is encoded again.")


@app.command()
@on_dataset
def search(
    opened: Opened,
    query: Annotated[str | None, typer.Argument(help="Sentence that describes the moment.", show_default=False)] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Videos to show.")] = 10,
    image: Image = None,
    like: Like = None,
    split: SplitName = None,
    label: Label = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    approximate: Approximate = False,
) -> None:
    """Find the moments that match a sentence, an image or a row of the dataset."""
    index, asked = opened.index, opened.query(query, image, like)
    hits = _searcher(index, approximate).find(asked, k, split=split, label=label)
    samples = [index.sample(hit.number) for hit in hits]
    if as_json:
        found = [
            {
                "key": sample.key,
                "start_s": round(hit.moment.start_s, 3),
                "end_s": round(hit.moment.end_s, 3),
                "best_s": round(hit.best_s, 3),
                "score": round(hit.moment.score, 4),
                "split": sample.split,
                "label": sample.label,
                "caption": sample.caption_of(hit.moment),
                "source": sample.meta.get("source"),
                "id": sample.id,
            }
            for hit, sample in zip(hits, samples, strict=True)
        ]
        # As ASCII: a caption cannot control the terminal.
        print(json.dumps({"query": asked.name, "dataset": opened.source, "hits": found}, indent=1))
        return
    head = ("score", "from", "to", "key", "split", "label", "caption")
    lines = [
        (
            f"{hit.moment.score:.3f}",
            f"{hit.moment.start_s:.1f} s",
            f"{hit.moment.end_s:.1f} s",
            sample.key,
            sample.split,
            _line(sample.label or "", 24),
            _line(sample.caption_of(hit.moment), 60),
        )
        for hit, sample in zip(hits, samples, strict=True)
    ]
    print(table([head, *lines], frozenset({0, 1, 2})))


@app.command("filter")
@on_dataset
def filter_dataset(
    opened: Opened,
    name: Annotated[str, typer.Option(help="Name of the new dataset: folder and Hub repository.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("data"),
    query: Annotated[str | None, typer.Option(help="Keep samples with a moment like this.", show_default=False)] = None,
    image: Image = None,
    like: Like = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=-1, max=1, callback=finite, help="Minimum cosine similarity with the query.", show_default=False
        ),
    ] = None,
    split: SplitName = None,
    label: Label = None,
    keys: Annotated[
        Path | None, typer.Option(help="File of keys, one per line, or from search --json.", show_default=False)
    ] = None,
    drop_duplicates: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            callback=finite,
            help="Cosine similarity, such as 0.98, from which only the first of several samples is kept.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, max=MAX_COUNT, help="Number of samples to keep.", show_default=False)
    ] = None,
    diverse: Annotated[
        bool, typer.Option("--diverse", help="Choose the most different samples instead of random ones.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Seed of the random choice and of the order in the shards.")
    ] = 42,
) -> None:
    """Write the samples that pass as a new dataset: shards, ids, card, provenance."""
    from explorer.filter import Filter, read_keys, write_filtered

    wanted = Filter(
        keys=read_keys(keys) if keys else None,
        split=split,
        label=label,
        query=opened.query(query, image, like) if query or image or like else None,
        min_score=min_score,
        drop_duplicates=drop_duplicates,
        sample=sample,
        diverse=diverse,
        seed=seed,
    )
    manifest = write_filtered(opened.index, wanted, out, name)
    kept, shards = manifest["filtered_from"]["kept"], len(manifest["shards"])
    where = f"{shards:,} {'shard' if shards == 1 else 'shards'} in {out / name}"
    print(f"{kept:,} of {len(opened.index):,} samples in {where}")


@app.command()
@on_dataset
def page(
    opened: Opened,
    raw: Annotated[
        Path | None,
        typer.Option(help="Folder of the raw files, to play them. [default: as in the build]", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 7860,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    approximate: Approximate = False,
) -> None:
    """Open the dataset as a page on this machine: search, map, near-duplicates."""
    from explorer.page.server import raw_folder, serve

    index = opened.index
    serve(_searcher(index, approximate), opened.models, raw_folder(index, raw), port=port, show=show)


@app.command()
def space(
    source: Source,
    org: Annotated[str, typer.Option(help="User or organization that the Space and the dataset belong to.")],
    public: Annotated[bool, typer.Option("--public", help="Make a Space that is created now public.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Write the files of the Space here and upload nothing.", show_default=False)
    ] = None,
) -> None:
    """Publish the page of a pushed dataset as a Space of the Hub."""
    from explorer.space import push_space, write_space

    if folder is not None:
        for path in write_space(source, org, folder):
            print(path)
        return
    url, private = push_space(source, org, public=public)
    print(f"{url}  {'private' if private else 'public'}")


def _searcher(index: Index, approximate: bool) -> Searcher:
    from explorer.search import Searcher

    if not approximate:
        return Searcher(index)
    from explorer.approximate import ApproximateShortlist

    return Searcher(index, ApproximateShortlist(index))


def _line(text: str, width: int) -> str:
    """Printable characters on one line, cut at `width`: a caption must not control a terminal."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= width else line[: width - 1] + "…"


if __name__ == "__main__":
    run(app, "python -m explorer")
