"""`ved …` and `python -m ved …`: the commands of all packages under one name.

ved build demo
ved verify data/CLIP-Shapes
ved card demo
ved explorer search data/CLIP-Shapes "a red circle"
"""

from __future__ import annotations

from preprocess import interrupts


def main() -> None:
    """The entry point of the console script."""
    interrupts.end_at_once()  # until `run` takes over
    from preprocess.console import run
    from ved.commands import app

    run(app, "ved")


if __name__ == "__main__":
    main()
