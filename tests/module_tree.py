"""The tree in CONTRIBUTING.md, from the docstrings of the modules: `python -m tests.module_tree` writes it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree -->\n```\n", "```\n<!-- /tree -->"

WORDS = {
    ".ci": "what has to pass before a change is merged",
    "CHANGELOG.md": "what changed",
    "CONTRIBUTING.md": "this page",
    "LICENSE": "Apache-2.0",
    "SECURITY.md": "what is trusted, which limits are enforced, how to report a vulnerability",
    "Makefile": "every command; `make help` lists them",
    "README.md": "what it does and how to use it",
    "benchmarks": "speed and memory, side by side with peers",
    "builders": "shards to Arrow, PyTorch and the Hub",
    "dataset_cards": "the Hub page: statistics, evaluation, figures, card; the prose of each dataset",
    "dataset_cards/evaluation": "zero-shot, linear probe, retrieval, leakage",
    "dataset_cards/evaluation/templates.txt": "prompts for zero-shot classification",
    "dataset_cards/examples": "the demo's card and figures, as generated",
    "dataset_cards/template.md.jinja": "the template of the card",
    "docs": "one page each: slices on clusters and on the Hub, a bucket as output",
    "docs/bucket.md": "a bucket as output",
    "docs/hf-jobs.md": "encode in slices with `hf jobs`",
    "docs/scale.md": "what millions of samples take",
    "docs/slurm-slices.md": "encode in slices with `sbatch --array`",
    "explorer/page/heading.html.jinja": "the head of the page",
    "explorer/page/hits.html.jinja": "the results of a search",
    "explorer/page/map.html.jinja": "the map of all samples",
    "explorer/page/message.html.jinja": "a notice or an error",
    "explorer/page/page.css": "the style of the page",
    "explorer/page/page.js": "playing from a moment, the map, keyboard",
    "explorer/page/pairs.html.jinja": "near-duplicates side by side",
    "explorer/page/parts.html.jinja": "macros that the other templates share",
    "explorer/page/sample.html.jinja": "one sample: video, curve, captions",
    "explorer/page/selection.html.jinja": "the selected samples",
    "preprocess": "raw data to shards",
    "preprocess/demo/tiny_clip": "the embedded model: weights, tokenizer, processor, model card",
    "preprocess/long_video/README.md": "the steps, what to know, the distance of chunks to a single pass",
    "pyproject.toml": "the package; settings of ruff, mypy, pytest, coverage and the import contracts",
    "requirements-azure.txt": "for addresses of Azure Blob Storage only",
    "requirements-dev.txt": "tools for tests, lint, types and coverage",
    "requirements-explore.txt": "for the explorer's page only",
    "requirements-gcs.txt": "for addresses of Google Cloud Storage only",
    "requirements-openvino.txt": "for the engine OpenVINO only",
    "requirements-ray.txt": "for the executor on Ray only",
    "requirements-gradio.txt": "Gradio, which is installed without its dependencies",
    "requirements-long-video.txt": "for long-video training sets only",
    "requirements.txt": "run-time dependencies, pinned",
    "tools": "what made the embedded model; not used at run time",
    "tools/tiny_clip/model_card.md": "template of the model card",
    "tests": "mirrors the code; media and models are made in the test",
    "tests/clients": "other projects' readers, unmodified, on the datasets this project writes",
    "ved": "`ved`: one command line over all packages",
}
MAX_WORDS = 85
FOLDED = {".ci", "tests", "preprocess/demo/tiny_clip", "dataset_cards/examples"}
PROSE = re.compile(r"dataset_cards/[a-z0-9_]+\.md")


def why_not() -> str | None:
    """Why the tracked files are unknown here, or None: git is missing, or this is an unpacked archive."""
    if not shutil.which("git"):
        return "git is not installed"
    # Not `git rev-parse`: an archive unpacked inside another repository would answer for that one.
    return None if (ROOT / ".git").exists() else "this folder is not a git checkout"


def tree() -> str:
    """The folders and files that git tracks, with a line on each."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [path for path in listed.stdout.splitlines() if path != ".gitignore" and not PROSE.fullmatch(path)]
    rows = list(_rows("", sorted(files, key=lambda path: (path.count("/") == 0, path.lower()))))
    width = max(len(left) for left, _ in rows)
    return "".join(f"{left.ljust(width)}  {right}".rstrip() + "\n" for left, right in rows)


def _rows(folder: str, files: list[str], indent: str = "") -> list[tuple[str, str]]:
    children: dict[str, list[str]] = {}
    for path in files:
        children.setdefault(path[len(folder) :].partition("/")[0], []).append(path)
    children = {name: paths for name, paths in children.items() if name != "__init__.py"}
    rows = []
    for i, (name, paths) in enumerate(children.items()):
        path = folder + name
        last = i == len(children) - 1
        is_folder = paths != [path]
        rows.append((f"{indent}{'└' if last else '├'}── {name}{'/' if is_folder else ''}", _words(path, is_folder)))
        if is_folder and path not in FOLDED:
            rows += _rows(f"{path}/", paths, indent + ("    " if last else "│   "))
    return rows


def _words(path: str, is_folder: bool) -> str:
    if path in WORDS:
        return WORDS[path]
    module = ROOT / path / "__init__.py" if is_folder else ROOT / path
    if module.suffix != ".py" or not module.is_file():
        return ""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"\.(?:\s|$)", docstring.partition("\n\n")[0].replace("\n", " "))[0]
    sentence = re.sub(r"^`[^`]+`: ", "", sentence)
    while len(sentence) > MAX_WORDS and (cut := max(sentence.rfind(sign) for sign in (", ", ": ", "; "))) > 0:
        sentence = sentence[:cut]
    return sentence.rstrip(":")


def with_tree(page: str) -> str:
    """The page with the current tree."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{tree()}{END}{after}"


if __name__ == "__main__":
    page = ROOT / "CONTRIBUTING.md"
    page.write_text(with_tree(page.read_text(encoding="utf-8")), encoding="utf-8")
