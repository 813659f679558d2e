"""Each concept is declared once: a class of one package has its name alone."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGES = ("preprocess", "builders", "dataset_cards", "explorer", "tools", "ved")


def test_no_two_classes_have_one_name(root: Path) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(root)))
    assert len(places) > 100
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
