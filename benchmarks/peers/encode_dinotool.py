"""dinotool on videos that have the sampled frames only, as it has no sampling: `videos out`.

Its own processor, one video after the other, with the model loaded once: a ViT-B/32 of OpenCLIP with random weights.
"""

import sys
from pathlib import Path

import open_clip
from dinotool import cli

NAME = "hf-hub:timm/vit_base_patch32_clip_224.openai"

if __name__ == "__main__":
    videos, out = sys.argv[1:]
    model = open_clip.create_model("ViT-B-32", pretrained="")
    transform = open_clip.image_transform(224, is_train=False)
    open_clip.create_model_from_pretrained = lambda name, return_transform=True: (
        (model, transform) if return_transform else model
    )
    for path in sorted(Path(videos).glob("*.mp4")):
        config = cli.DinotoolConfig(
            input=str(path),
            output=str(Path(out, path.stem)),
            model_name=NAME,
            input_size=(224, 224),
            batch_size=16,
            save_features="frame",
            no_vis=True,
        )
        cli.DinotoolProcessor(config).run()
    assert len(list(Path(out).glob("*.parquet"))) == len(list(Path(videos).glob("*.mp4")))
