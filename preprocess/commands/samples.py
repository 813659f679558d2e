"""`samples`: lists the samples of a dataset."""

from __future__ import annotations

from pathlib import Path

from preprocess import options


def samples(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    model: options.Model = None,
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
    url_col: options.UrlColumn = None,
    id_col: options.IdColumn = None,
    caption_col: options.CaptionColumn = None,
    label_col: options.LabelColumn = None,
    split_col: options.SplitColumn = None,
    start_col: options.StartColumn = None,
    end_col: options.EndColumn = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
) -> None:
    """List the samples in samples.jsonl, without decoding."""
    from preprocess.pipeline.index import list_source, write_samples
    from preprocess.pipeline.outputs import SourceOptions, only_runs, resolve_sources

    recipe, models = options.open_outputs(dataset, out, name, model)
    layouts = [layout for layout, _ in models]
    columns = options.named_columns(
        url=url_col, id=id_col, caption=caption_col, label=label_col, split=split_col, start=start_col, end=end_col
    )
    wanted = SourceOptions(raw, options.parse_shares(split), seed, split_protocol, columns, config)
    source = resolve_sources(recipe, layouts, wanted, overwrite=overwrite)
    with only_runs(layouts, overwrite=overwrite):
        found, rejected = list_source(recipe, source)
        for layout in layouts:
            write_samples(found, source, layout, rejected)
            print(f"{len(found):,} samples in {layout.samples}")
