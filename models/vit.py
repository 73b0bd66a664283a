"""A small vision transformer whose tokens come by as feature maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import LARGEST_WIDTH, InputSizeError, Normalize, check_share, check_whole_number

HEAD_WIDTH = 32
LARGEST_SIDE = 1024
LARGEST_DEPTH = 48


class TokenMap(nn.Identity):
    """Passes tokens on as maps `(N, C, h, w)`: a layer for heatmaps to look at."""


class GridViT(nn.Module):
    """Patches, transformer blocks (timm's), a last layer norm, the mean over tokens and one linear layer.

    There is no class token, so the tokens form a grid: `grid1` to `grid4` (identities after every quarter of the
    blocks, the last one after the last norm) see them as maps `(N, C, h, w)`. The learned positions are for
    `grid` x `grid` tokens; for other inputs they are resized (bicubic).
    """

    def __init__(
        self, num_classes: int, patch: int, grid: int, dim: int, depth: int, drop_path: float
    ) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        self.patch = patch
        self.normalize = Normalize()
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.position = nn.Parameter(torch.empty(dim, grid, grid))
        rates = [drop_path * index / max(1, depth - 1) for index in range(depth)]
        heads = max(1, dim // HEAD_WIDTH)
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio=1.0, qkv_bias=True, drop_path=rate) for rate in rates
        )
        self.ends = [-(-depth * quarter // 4) for quarter in (1, 2, 3)]
        self.grid1, self.grid2, self.grid3, self.grid4 = (TokenMap() for _ in range(4))
        self.norm = nn.LayerNorm(dim)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(dim, num_classes)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]; H and W are multiples of the patch."""
        self._check(images)
        maps = self.embed(self.normalize(images))
        maps = maps + self._positions(maps.shape[2], maps.shape[3])
        grids = dict(zip(self.ends, (self.grid1, self.grid2, self.grid3), strict=True))
        for number, block in enumerate(self.blocks, start=1):
            maps = _maps(block(_tokens(maps)), maps)
            maps = grids[number](maps) if number in grids else maps
        maps = self.grid4(_maps(self.norm(_tokens(maps)), maps))
        return self.fc(torch.flatten(self.avgpool(maps), 1))

    def _check(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        if height % self.patch or width % self.patch:
            raise InputSizeError(
                f"the image is {width} x {height} px; allowed are multiples of the patch of {self.patch} px."
            )

    def _positions(self, height: int, width: int) -> Tensor:
        if (height, width) == self.position.shape[1:]:
            return self.position[None]
        return F.interpolate(self.position[None], size=(height, width), mode="bicubic", align_corners=False)


def _initialise(network: GridViT) -> None:
    """Truncated normal weights of deviation 0.02, as is usual for transformers."""
    nn.init.trunc_normal_(network.position, std=0.02)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def _tokens(maps: Tensor) -> Tensor:
    """Maps `(N, C, h, w)` as tokens `(N, h * w, C)`."""
    return maps.flatten(2).transpose(1, 2)


def _maps(tokens: Tensor, like: Tensor) -> Tensor:
    """Tokens as maps of the shape of `like`."""
    return tokens.transpose(1, 2).reshape(like.shape)


def vit_small(
    num_classes: int,
    *,
    image_size: int = 32,
    patch: int | None = None,
    width: int = 384,
    depth: int = 7,
    drop_path: float = 0.0,
) -> GridViT:
    """A small vision transformer (Dosovitskiy et al., ICLR 2021) that can be trained from scratch on small images.

    The form usual for CIFAR: seven blocks of width 384 with twelve heads and an MLP of the same width, 6.3 M
    parameters at 32 px. Mean over tokens in place of a class token (Beyer et al., 2022). `image_size` (px) is the
    size that the positions are learned for, `patch` the side of a patch (default: an eighth of it, an 8x8 grid),
    `width` (32 to 512) the width of a token, a multiple of 32 as each head has 32; `drop_path` the largest
    rate of stochastic depth (Huang et al., ECCV 2016).
    """
    check_whole_number("image_size", image_size, LARGEST_SIDE)
    patch = max(1, image_size // 8) if patch is None else patch
    check_whole_number("patch", patch, LARGEST_SIDE)
    check_whole_number("width", width, LARGEST_WIDTH)
    check_share("drop_path", drop_path)
    if not isinstance(depth, int) or not 3 <= depth <= LARGEST_DEPTH:
        raise ValueError(f"depth is {depth!r}; allowed is 3 to {LARGEST_DEPTH}.")
    if width % HEAD_WIDTH:
        raise ValueError(f"width is {width}; allowed are multiples of {HEAD_WIDTH}.")
    if image_size % patch:
        raise ValueError(f"patch is {patch}; allowed are divisors of the image size {image_size}.")
    return GridViT(num_classes, patch, image_size // patch, width, depth, drop_path)
