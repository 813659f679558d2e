"""Small models with random weights, one per family, saved as their publishers save them: configs, processor, tokenizer.

`MODELS[family](folder)` fills a folder. Every family below preprocess/encoders/families needs an entry.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import transformers

TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = ["a", "red", "circle", "blue", "ring", "moving", "left", "video", "of", "photo", "the"]


def clip(folder: Path) -> None:
    config = transformers.CLIPConfig(
        vision_config={**TOWER, "projection_dim": 16, "image_size": 32, "patch_size": 8},
        text_config={**TOWER, "projection_dim": 16, **clip_tokenizer(folder)},
        projection_dim=16,
    )
    save(transformers.CLIPModel, config, folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)


def metaclip_2(folder: Path) -> None:
    tokens = sentencepiece_tokenizer(folder, "XLMRobertaTokenizer")
    config = transformers.MetaClip2Config(
        vision_config={**TOWER, "projection_dim": 16, "image_size": 32, "patch_size": 8},
        text_config={**TOWER, "projection_dim": 16, "max_position_embeddings": 12, **tokens},
        projection_dim=16,
    )
    save(transformers.MetaClip2Model, config, folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": 36}, crop_size=32).save_pretrained(folder)


def siglip(folder: Path) -> None:
    tokens = gemma_tokenizer(folder)
    config = transformers.SiglipConfig(
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
        text_config={**TOWER, "projection_size": 64, "max_position_embeddings": 12, **tokens},
    )
    save(transformers.SiglipModel, config, folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}, resample=2).save_pretrained(folder)


def dinov2(folder: Path) -> None:
    config = transformers.Dinov2Config(**TOWER, image_size=42, patch_size=14)
    save(transformers.Dinov2Model, config, folder)
    transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=28).save_pretrained(folder)


def dinov3_vit(folder: Path) -> None:
    config = transformers.DINOv3ViTConfig(**TOWER, image_size=32, patch_size=8, num_register_tokens=2)
    save(transformers.DINOv3ViTModel, config, folder)
    transformers.DINOv3ViTImageProcessor(size={"height": 32, "width": 40}).save_pretrained(folder)


def vjepa2(folder: Path) -> None:
    config = transformers.VJEPA2Config(
        hidden_size=60,
        num_attention_heads=2,
        num_hidden_layers=2,
        mlp_ratio=2,
        patch_size=8,
        crop_size=32,
        frames_per_clip=4,
        pred_hidden_size=60,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        pred_num_mask_tokens=2,
    )
    save(transformers.VJEPA2Model, config, folder)
    transformers.VJEPA2VideoProcessor(crop_size=32).save_pretrained(folder)


def xclip(folder: Path) -> None:
    mit = {"mit_hidden_size": 16, "mit_intermediate_size": 32, "mit_num_attention_heads": 2, "num_frames": 4}
    config = transformers.XCLIPConfig(
        vision_config={**TOWER, **mit, "image_size": 32, "patch_size": 8},
        text_config={**TOWER, **clip_tokenizer(folder)},
        projection_dim=16,
        prompt_num_attention_heads=2,
    )
    save(transformers.XCLIPModel, config, folder)
    transformers.VideoMAEImageProcessor(size={"shortest_edge": 36}, crop_size=32).save_pretrained(folder)


MODELS: dict[str, Callable[[Path], None]] = {
    "clip": clip,
    "dinov2": dinov2,
    "dinov3_vit": dinov3_vit,
    "metaclip_2": metaclip_2,
    "siglip": siglip,
    "vjepa2": vjepa2,
    "xclip": xclip,
}


def save(cls: type, config: object, folder: Path) -> None:
    torch.manual_seed(0)
    model = cls(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("logit_bias"):  # what they are after training; both begin near zero
            torch.nn.init.constant_(parameter, -3.0)
        elif name.endswith("logit_scale"):
            torch.nn.init.constant_(parameter, 3.0)
        elif parameter.ndim > 1:  # the default is so small that all images look alike
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)


def clip_tokenizer(folder: Path) -> dict[str, int]:
    """A byte-pair tokenizer that knows letters and a few words; returns what the text config says of it."""
    letters = [chr(i) for i in range(ord("a"), ord("z") + 1)]
    merges = [("r", "e"), ("re", "d</w>")]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=12).save_pretrained(folder)
    return {
        "vocab_size": len(vocab),
        "max_position_embeddings": 12,
        "bos_token_id": len(vocab) - 2,
        "eos_token_id": len(vocab) - 1,
        "pad_token_id": len(vocab) - 1,
    }


def gemma_tokenizer(folder: Path) -> dict[str, int]:
    """Gemma's tokenizer, as google/siglip2-base-patch16-224 names it, on letters of both cases."""
    letters = [chr(i) for i in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1))]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *letters]
    tokenizer = transformers.GemmaTokenizer(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_max_length=12,
    )
    tokenizer.save_pretrained(folder)
    return {"vocab_size": len(tokens), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}


def sentencepiece_tokenizer(folder: Path, name: str) -> dict[str, int]:
    """A Unigram tokenizer of letters, as XLM-RoBERTa's."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *(chr(i) for i in range(ord("a"), ord("z") + 1))]
    vocab = [(piece, 0.0 if i < 4 else -float(i)) for i, piece in enumerate(pieces)]
    getattr(transformers, name)(vocab=vocab, model_max_length=12).save_pretrained(folder)
    return {"vocab_size": len(pieces) + 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
