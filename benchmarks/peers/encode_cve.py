"""clip-video-encode, by its own function, with weights of its own that are random: `videos out`."""

import sys
from pathlib import Path

from clip_video_encode import clip_video_encode

if __name__ == "__main__":
    videos, out = sys.argv[1:]
    paths = [str(path) for path in sorted(Path(videos).glob("*.mp4"))]
    clip_video_encode(paths, out, take_every_nth=25, frame_workers=2, pretrained="")
    assert len(list(Path(out).glob("*.npy"))) == len(paths)
