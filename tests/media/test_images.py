"""Images as a CLIP processor gets them: RGB, upright, one frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers import CLIPImageProcessor

from preprocess.errors import MediaError
from preprocess.media import read_media
from preprocess.media.images import read_image
from preprocess.media.sampling import Sampling
from preprocess.media.transforms import resize_crop
from preprocess.samples import Preprocessing

ORIENTATION = 0x0112


def picture(height: int = 30, width: int = 40) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([6 * x, 8 * y, (x * y) % 256], -1).astype(np.uint8))


def pixels(path: Path) -> Any:
    return read_image(path).frames.pixels[0]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".jpeg", ".webp"])
def test_rgb(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    picture().save(path)
    clip = read_media(path, Sampling.fps(30), start_s=5.0)
    assert clip.frames.pixels.shape == (1, 30, 40, 3)
    assert (clip.frames.timestamps_s.tolist(), clip.duration_s, clip.truncated) == ([0.0], 0.0, False)
    np.testing.assert_array_equal(clip.frames.pixels[0], np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "PA"])
def test_modes_are_converted_as_pillow_does(mode: str, tmp_path: Path) -> None:
    image = picture().convert("L").convert("LA").convert("PA") if mode == "PA" else picture().convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.arange(1200, dtype=np.uint16).astype(np.uint8).reshape(30, 40)))
    path = tmp_path / ("image.tiff" if mode in ("CMYK", "YCbCr", "PA") else "image.png")
    image.save(path)
    named = path.rename(tmp_path / "image.jpg")  # a suffix may lie
    np.testing.assert_array_equal(pixels(named), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture().save(path, exif=exif, quality=95)
    stored = np.asarray(Image.open(path).convert("RGB"))
    # The eight of the EXIF standard, 1 to 8, by what has to be done to the stored rows and columns.
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }
    np.testing.assert_array_equal(pixels(path), upright[orientation])


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path) -> None:
    values = (np.arange(1200, dtype=np.uint32) * 54).astype(np.uint16).reshape(30, 40)
    path = tmp_path / "depth.png"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(pixels(path), np.repeat((values >> 8).astype(np.uint8)[..., None], 3, -1))


def test_animation_is_its_first_picture(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (40, 30), color) for color in ("red", "blue", "green")]
    for name, options in (("moving.webp", {"lossless": True}), ("moving.png", {})):
        path = tmp_path / name
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, **options)
        assert Image.open(path).n_frames == 3
        assert np.unique(pixels(path).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_what_the_processor_makes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture(300, 451).save(path, quality=90)
    theirs = CLIPImageProcessor()(Image.open(path), do_rescale=False, do_normalize=False, return_tensors="np")
    transform = resize_crop(Preprocessing(224, (224, 224), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    ours = read_image(path, transform=transform).frames.pixels
    np.testing.assert_array_equal(ours, theirs["pixel_values"].transpose(0, 2, 3, 1))
    assert ours.flags.c_contiguous


def reason_of(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_cut_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason_of(path) in ("truncated", "unreadable")


def test_no_image(tmp_path: Path, clip_path: Callable[[str], Path]) -> None:
    for name, data in (
        ("empty.jpg", b""),
        ("text.png", b"not an image\n" * 100),
        ("page.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"),
        ("video.jpg", clip_path("one frame").read_bytes()),
    ):
        (tmp_path / name).write_bytes(data)
        assert reason_of(tmp_path / name) == "unreadable", name
    assert reason_of(tmp_path / "gone.jpg") == "missing"


@pytest.mark.parametrize("kind", ["PPM", "PCX", "ICO", "TGA", "SGI", "EPS"])
def test_only_the_formats_of_image_datasets_are_opened(kind: str, tmp_path: Path) -> None:
    """Whatever the suffix: Pillow's readers of other formats are used by nobody, and some run programs."""
    Image.new("RGB", (16, 16), (200, 0, 0)).save(tmp_path / "a.jpg", kind)
    assert reason_of(tmp_path / "a.jpg") == "unreadable"


def test_cut_jpeg_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    picture(200, 200).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    assert reason_of(path) == "truncated"


def test_more_pixels_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert path.stat().st_size < 200_000
    assert reason_of(path) == "too_large"
    # Between Pillow's warning and Pillow's error, our own limit decides.
    Image.new("1", (12_000, 11_500)).save(path)
    assert reason_of(path) == "too_large"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture().save(path, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12\x00\x03")
    np.testing.assert_array_equal(pixels(path), np.asarray(Image.open(path).convert("RGB")))


def test_orientation_of_sixteen_bit_grey(tmp_path: Path) -> None:
    values = (np.arange(1200, dtype=np.uint32) * 54).astype(np.uint16).reshape(30, 40)
    image = Image.fromarray(values)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = tmp_path / "depth.png"
    image.save(path, exif=exif)
    assert ImageOps.exif_transpose(Image.open(path)).size == (30, 40)
    assert pixels(path).shape == (40, 30, 3)
