"""What `make build` runs, in one process: build, evaluate, card.

python -m tests.kills.whole_build RAW OUT WORKERS
"""

from __future__ import annotations

import sys

NAME = "CLIP-Test"


def main(raw: str, out: str, workers: str) -> None:
    from preprocess.console import use_utf8

    use_utf8()  # as every command does
    from dataset_cards.__main__ import app as cards
    from preprocess.__main__ import app as preprocess

    place = ("folder", "--out", out, "--name", NAME)
    encoding = ("--model", "tiny-clip", "--precision", "fp32", "--workers", workers)
    preprocess(["build", *place, "--raw", raw, *encoding, "--per-shard", "2"], standalone_mode=False)
    cards(["evaluate", *place], standalone_mode=False)
    cards(["card", *place], standalone_mode=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
