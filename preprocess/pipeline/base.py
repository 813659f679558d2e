"""The base of an append: what a packed dataset holds, and what of it has changed since.

The base is read, not packed again: its manifest says which tars there are, their `.json` members which samples these
hold. A tar whose note has the digest that today's triples give has not changed; of any other, each row is compared with
what packing would write now.

While a generation is being written the dataset has no manifest. That of the base is then in `base_manifest.json` in the
work folder, from which an interrupted append continues. `order.json` beside it has the order that is being packed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preprocess.errors import DamagedFileError, SettingsError, UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest, Order
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import CAPTION_INDEX, META_KEYS
from preprocess.pipeline.pack_plan import Item, PackItems, PackSettings, row_name, rows_digest
from preprocess.pipeline.pack_shard import Note, parse_note, state_file, triple_parts, write_note
from preprocess.pipeline.packed_samples import packed_triples
from preprocess.samples import JSON, KEY_PATTERN, ShardReport, Split
from preprocess.storage import fingerprint, read_ranges
from preprocess.validation import own_file, shown

ANEW = "To pack everything anew, with new ids, use --no-append."
_RESTORE = f"Restore or download the tars of the dataset. {ANEW}"
_CHUNK = 8 << 20


@dataclass(frozen=True, slots=True)
class Base:
    """The current rows of a dataset, compared with what packing would write today.

    Attributes:
        manifest: Of the dataset.
        rows: Id of each current row by its name (`pack_plan.row_name`), in the order of the tars.
        changed: Names of those that would be written with other bytes, or in another split.
    """

    manifest: Manifest
    rows: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    @property
    def reports(self) -> list[ShardReport]:
        """The tars that exist."""
        return [ShardReport(**entry) for entry in self.manifest["shards"]]

    @property
    def keys(self) -> set[str]:
        """Keys of the samples that have a row."""
        return {sample_key(name) for name in self.rows}


# --- which dataset to append to ---------------------------------------------------------------------------------------


def packed_manifest(layout: Layout) -> Manifest | None:
    """The manifest that an output was packed with, also while an append is interrupted; None if it was never packed.

    Raises:
        DamagedFileError: It is not valid.
    """
    for path in (layout.dataset / MANIFEST_FILE, layout.base_manifest):
        if path.is_file():
            return read_manifest(path)
    return None


def packed_order(layout: Layout) -> Order | None:
    """How an output was ordered and cut into tars, also while packing is interrupted; None if it never was.

    Raises:
        DamagedFileError: The manifest or `order.json` is not valid.
    """
    manifest = packed_manifest(layout)
    if manifest is not None:
        return manifest["order"]
    noted = read_json(layout.order)
    return own_file(noted, Order, layout.order, "Delete it.") if noted else None


def base_of(layout: Layout, append: bool | None) -> Manifest | None:
    """The manifest to append to; None where everything is to be packed.

    Args:
        layout: Of the output.
        append: Whether to append; None for what was done before.

    Raises:
        DamagedFileError: The manifest is not valid.
    """
    if append is False:
        return None
    manifest = packed_manifest(layout)
    if append or manifest is None or "generations" in manifest:
        return manifest
    return None if (layout.dataset / MANIFEST_FILE).is_file() else manifest  # the latter: interrupted


def check_settings(base: Manifest, settings: JSON, meta_keys: Sequence[str]) -> None:
    """Compares the settings of this run with those of the base.

    Args:
        base: The manifest to append to.
        settings: `encoder`, `sampling`, `preprocessing`, `caption_mode` and `order`, as a manifest has them.
        meta_keys: The recipe's own keys of today's samples.

    Raises:
        SettingsError: A row of this run would not fit: names the first field that differs, and both values.
    """
    for field_, now in settings.items():
        before = base[field_]  # type: ignore[literal-required]
        pairs = [(field_, before, now)]
        if isinstance(now, Mapping):  # older manifests lack some fields; those that they have decide
            pairs = [(f"{field_}.{key}", before[key], now.get(key)) for key in sorted(before)]
        for name, there, here in pairs:
            if there != here:
                raise SettingsError(
                    f"{base['dataset']} was packed with {name} {there!r}, this run has {here!r}",
                    f"Append with the settings of the dataset. {ANEW}",
                )
    if new := sorted(set(meta_keys) - base["meta_keys"].keys()):
        raise SettingsError(
            f"the metadata now has {', '.join(map(repr, new))}, which no row of {base['dataset']} has",
            f"All rows have the same keys: remove it from the raw metadata. {ANEW}",
        )


def own_keys(base: Manifest) -> tuple[str, ...]:
    """The keys of the `.json` that follow `META_KEYS`, in the order of the base, as `PackSettings` has them."""
    return tuple(key for key in base["meta_keys"] if key not in (*META_KEYS, CAPTION_INDEX))


# --- what it holds ----------------------------------------------------------------------------------------------------


def compare_base(manifest: Manifest, settings: PackSettings, items: PackItems) -> Base:
    """Reads which samples the tars hold, and finds those that have changed.

    Args:
        manifest: Of the dataset.
        settings: Of this run; the meta keys are those of the base.
        items: What would be packed today.

    Raises:
        UserError: A tar is missing, or is not the one that the manifest names.
    """
    base, replaced = Base(manifest), replaced_rows(manifest)
    for report in base.reports:
        note = _vouching_note(settings, report)
        if note is None:
            _check_sha256(settings.out / report.file, report.sha256)
        ids: list[str] = []
        names: list[str | None] = []
        for id_, name in read_rows(settings.out / report.file):
            ids.append(id_)
            names.append(None if id_ in replaced else name)
            if id_ not in replaced and base.rows.setdefault(name, id_) != id_:
                problem = f"{name!r} is also {base.rows[name]}"
                raise DamagedFileError(settings.out / report.file, id_, problem, "Run `python -m builders verify`.")
        now = items.find(names)
        moved = {item.name for item in now if item and item.sample.split != report.split}
        base.changed.update(moved)
        now = [None if item and item.name in moved else item for item in now]
        if note and note.digest == rows_digest(settings, report.split, ids, now):
            continue
        same = list(_unchanged(settings, report, now))
        base.changed.update(item.name for item, kept in zip(now, same, strict=True) if item and not kept)
        # Next time, nothing needs to be compared: rows that changed now will have been replaced then.
        known = [item if kept else None for item, kept in zip(now, same, strict=True)]
        write_note(settings, rows_digest(settings, report.split, ids, known), report)
    return base


def sample_key(name: str) -> str:
    """The key of the sample that a row is of, from the name of the row."""
    return name.partition(":")[0]


def _vouching_note(settings: PackSettings, report: ShardReport) -> Note | None:
    """The note of a tar that is untouched since it was noted as what the manifest says; None: its bytes are unknown."""
    tar = settings.out / report.file
    try:
        stamp = fingerprint(tar)
    except FileNotFoundError:
        raise UserError(f"{tar} is missing, so nothing can be appended to the dataset", _RESTORE) from None
    try:
        note = parse_note(read_ranges([(state_file(settings, report.file), 0, None)])[0])
    except FileNotFoundError:
        return None
    return note if note and (note.stamp, note.report) == (stamp, report) else None


def _check_sha256(tar: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with tar.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise UserError(f"{tar} is not the tar that the manifest names: its SHA-256 is {digest.hexdigest()}", _RESTORE)


def read_rows(tar: Path) -> Iterator[tuple[str, str]]:
    """Id and name of each row of a tar, in order.

    Raises:
        UserError: It does not exist, or is damaged.
    """
    for one in packed_triples(tar):
        key, caption = one.meta["key"], one.meta.get(CAPTION_INDEX)
        if not KEY_PATTERN.fullmatch(key) or type(caption) not in (int, type(None)):
            problem = f"has key {shown(key)} and {CAPTION_INDEX} {shown(caption)}"
            raise DamagedFileError(tar, f"{one.id}.json", problem, "Run `python -m builders verify`.")
        yield one.id, row_name(key, caption)


def _unchanged(settings: PackSettings, report: ShardReport, items: Sequence[Item | None]) -> Iterator[bool]:
    """For each row, whether packing its item would give the same bytes; False where there is none."""
    split: Split = report.split
    stored = settings.processed.read(split, [item.place for item in items if item])
    for item, triple in zip(items, iter_triples(settings.out / report.file), strict=True):
        yield item is not None and triple_parts(settings, item, next(stored)).contents == triple.parts
