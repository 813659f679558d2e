"""CLIP's image tower, with torch alone: the operations of `transformers` in their order, so rows have the same bits.

The first batch of a worker process would otherwise wait for the import of `transformers`, longer than for anything
else.

    tower = load_clip_tower(resolve("openai/clip-vit-base-patch32"), torch.device("cpu"), torch.bfloat16)
    tower(pixels)                                  # (N, 3, 224, 224) -> (N, 512)

Of the last layer, only the row of the class token is used. What follows its attention, 6 % of all products of twelve
layers, is computed for that row alone where it has the same bits then. As matrix libraries choose their kernels by
shape, this is tried once for each shape of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear, scaled_dot_product_attention

from preprocess.encoders.models import ModelFiles
from preprocess.errors import UserError
from preprocess.samples import JSON

_DEFAULTS: JSON = {
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
"""Of `CLIPVisionConfig`; all sizes are those of the weights."""

_KINDS = ("weight", "bias")
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": lambda x: torch.sigmoid_(1.702 * x).mul_(x),
    "gelu": gelu,
}
_COMPARED = 8192
"""Numbers that must be the same for those of other batches to be: a few may be so by chance."""

_NORMS = ("vision_model.pre_layrnorm", "vision_model.post_layernorm")  # the first is spelled so in all files
_LAYER = (
    "layer_norm1",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "layer_norm2",
    "mlp.fc1",
    "mlp.fc2",
)
_PATCHES, _CLASS, _POSITIONS, _PROJECTION = (
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.embeddings.class_embedding",
    "vision_model.embeddings.position_embedding.weight",
    "visual_projection.weight",
)


@dataclass(frozen=True, slots=True)
class ClipTower:
    """The image tower and its projection.

    Attributes:
        weights: By their names in the file.
        layers: Number of transformer layers.
        heads: Number of attention heads.
        eps: Of layer normalization.
        activation: Between the two products of a layer's perceptron.
        alone: By shape, type and threads of a batch, whether the row of the class token has the same bits if the last
            layer computes it alone; see `_same_alone`.
    """

    weights: dict[str, Tensor]
    layers: int
    heads: int
    eps: float
    activation: Callable[[Tensor], Tensor]
    alone: dict[object, bool] = field(default_factory=dict)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalized `(N, 3, H, W)` to `(N, D)`."""
        patches, before_layers, after_layers = self.weights[_PATCHES], *_NORMS
        embedded = conv2d(pixels, patches, stride=patches.shape[-1]).flatten(2).transpose(1, 2)
        x = torch.cat([self.weights[_CLASS].expand(pixels.shape[0], 1, -1), embedded], dim=1)
        x = self._norm(x + self.weights[_POSITIONS], before_layers)
        for number in range(self.layers - 1):
            x = self._perceptron(x, self._mixed(x, number), number)
        x = self._last_row(x, self._mixed(x, self.layers - 1))
        return linear(self._norm(x, after_layers), self.weights[_PROJECTION])

    def _last_row(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The row of the class token after the last layer, `(N, width)`."""
        last = self.layers - 1
        if self._same_alone(x):
            return self._perceptron(x[:, 0], mixed[:, 0], last)
        return self._perceptron(x, mixed, last)[:, 0]

    def _same_alone(self, like: Tensor) -> bool:
        """Whether that row has the same bits if it is computed alone; random numbers decide, once for each shape."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return True  # for another engine, which has bits of its own
        batch = (like.shape, like.dtype, torch.get_num_threads())
        if batch not in self.alone:
            random = torch.Generator(like.device).manual_seed(0)
            x, mixed = torch.empty((2, *like.shape), dtype=like.dtype, device=like.device).normal_(generator=random)
            whole, alone = (self._perceptron(*rows, self.layers - 1) for rows in ((x, mixed), (x[:, 0], mixed[:, 0])))
            self.alone[batch] = alone.numel() >= _COMPARED and torch.equal(whole[:, 0], alone)
        return self.alone[batch]

    def _perceptron(self, x: Tensor, mixed: Tensor, number: int) -> Tensor:
        """What a layer does to each row on its own, after its attention has mixed them."""
        *_, out, norm2, first, second = _of_layer(number)
        x = x + self._linear(mixed, out)
        return x + self._linear(self.activation(self._linear(self._norm(x, norm2), first)), second)

    def _mixed(self, x: Tensor, number: int) -> Tensor:
        """The rows that the attention of a layer mixes, of the shape of `x`."""
        norm1, query, key, value, *_ = _of_layer(number)
        x = self._norm(x, norm1)
        shape = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        q, k, v = (self._linear(x, name).view(shape).transpose(1, 2) for name in (query, key, value))
        return scaled_dot_product_attention(q, k, v, scale=shape[-1] ** -0.5).transpose(1, 2).reshape(x.shape)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], self.eps)


def load_clip_tower(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> ClipTower | None:
    """Loads the tower onto a device, in a number format.

    Returns:
        None for weights that are not safetensors, and for what only `transformers` knows: another activation, quantized
        weights.

    Raises:
        UserError: The files lack weights of the tower.
    """
    config = {**_DEFAULTS, **files.config().get("vision_config", files.config())}
    activation = _ACTIVATIONS.get(config["hidden_act"])
    if activation is None or files.config().get("quantization_config") or files.weights[0].suffix != ".safetensors":
        return None
    layers = config["num_hidden_layers"]
    parts = (*_NORMS, *(name for number in range(layers) for name in _of_layer(number)))
    wanted = {_PATCHES, _CLASS, _POSITIONS, _PROJECTION, *(f"{name}.{kind}" for name in parts for kind in _KINDS)}
    weights: dict[str, Tensor] = {}
    for path in files.weights:
        with safe_open(path, framework="pt") as tensors:
            # Not copied where the type is that of the file: the addresses of weights decide in which order products are
            # summed, and `transformers` maps the file, too.
            there = wanted.intersection(tensors.keys())
            weights |= {name: tensors.get_tensor(name).to(device, dtype) for name in there}
    if missing := sorted(wanted - weights.keys()):
        raise UserError(
            f"model {files.id!r} lacks {len(missing)} weights of its image tower, such as {missing[0]}",
            "Save it again with save_pretrained, as CLIPModel or CLIPVisionModelWithProjection.",
        )
    return ClipTower(weights, layers, config["num_attention_heads"], config["layer_norm_eps"], activation)


def _of_layer(number: int) -> list[str]:
    """Names of the parts of a transformer layer, in the order of `_LAYER`."""
    return [f"vision_model.encoder.layers.{number}.{part}" for part in _LAYER]
