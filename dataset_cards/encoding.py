"""How frames became vectors, in one or two sentences of a card.

Each frame is resized to 224 pixels on its shorter side (bicubic, antialiased), cropped to the central 224 × 224, and
encoded by the image tower and projection of the model.
"""

from __future__ import annotations

from dataset_cards.markup import Markdown
from dataset_cards.words import ordinal
from preprocess.encoders import family
from preprocess.samples import JSON, Preprocessing


def encoding_sentence(encoder: JSON, preprocessing: JSON, picture: str = "frame") -> Markdown:
    """How each frame was preprocessed, which part of the model encoded it, and what a row stands for.

    Args:
        encoder: `encoder` of the manifest; older manifests have no field `family`.
        preprocessing: `preprocessing` of the manifest.
        picture: What is encoded: a frame, or an image.
    """
    own = Preprocessing.from_json(preprocessing)
    how = f"({own.interpolation}, antialiased)"
    if own.size is not None:
        steps = [f"resized to {_pixels(own.size)} pixels {how}"]
    else:
        steps = [f"resized to {own.shortest_edge} pixels on its shorter side {how}"]
    if own.crop is not None:
        steps.append(f"cropped to the central {_pixels(own.crop)}")
    tower = family(encoder["family"]).tower if "family" in encoder else "the model"
    if encoder.get("unit") != "clip":
        steps.append(f"encoded by {tower}")
        return Markdown(f"Each {picture} is {_series(steps)}.")
    length, stride = encoder["clip_frames"], encoder["clip_stride"]
    return Markdown(
        f"Each frame is {_series(steps)}. A row encodes a clip of {length} sampled frames, by {tower}. A clip starts "
        f"at every {'' if stride == 1 else f'{ordinal(stride)} '}sampled frame; the last clip is padded by repeating "
        "its last frame (`padded_frames`). `spans` has the start and end of each clip, in seconds."
    )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


def _series(steps: list[str]) -> str:
    return ", ".join([*steps[:-1], f"and {steps[-1]}"]) if len(steps) > 2 else " and ".join(steps)
