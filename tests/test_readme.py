"""The README says what is there: its tree, its links, its Python."""

from __future__ import annotations

import re
from pathlib import Path

from tests.readme_tree import with_tree


def test_the_tree_is_that_of_the_repository(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert readme == with_tree(readme), "run `python tests/readme_tree.py`"


def test_links_lead_somewhere(root: Path) -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", (root / page).read_text(encoding="utf-8")):
            assert (root / link).exists(), f"{page}: {link}"


def test_every_python_block_compiles(root: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        compile(block, "README.md", "exec")
