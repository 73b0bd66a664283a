"""Random changes of training pictures, batched on their device: shifts, flips, rotation, colour and noise.

What is drawn is drawn apart from what is done with it. `draw` takes all its numbers from a generator on the CPU, so
they are the same on every device and can be moved there for a whole epoch at once; `apply` draws nothing but the
noise, which comes from a generator on the pictures' device with a seed that was drawn on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.recipes import Recipe

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601), as in torchvision's greyscale."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for batches of N pictures; every field may carry further dimensions in front.

    `offsets` int64 `(2, N)` in [0, 2 padding], `flips` bool `(N,)`, `angles` float `(N,)` in radians, `colours` float
    `(4, N)`: factors of brightness, contrast and saturation, and the turn of the hue as a share of the circle;
    `noise_seed` int64 `()`, which stays on the CPU. The last three are None where the recipe does not ask for them.
    """

    offsets: Tensor
    flips: Tensor
    angles: Tensor | None = None
    colours: Tensor | None = None
    noise_seed: Tensor | None = None

    def to(self, device: torch.device) -> Draws:
        """The same on another device."""
        angles = None if self.angles is None else self.angles.to(device)
        colours = None if self.colours is None else self.colours.to(device)
        return Draws(self.offsets.to(device), self.flips.to(device), angles, colours, self.noise_seed)

    def __getitem__(self, step: int) -> Draws:
        """The numbers of one batch of a stack of them."""
        return Draws(*(None if column is None else column[step] for column in self._columns()))  # type: ignore[arg-type]

    def _columns(self) -> tuple[Tensor | None, ...]:
        return self.offsets, self.flips, self.angles, self.colours, self.noise_seed


def stack(draws: list[Draws]) -> Draws:
    """One `Draws` of several, with a dimension of steps in front of each field."""
    columns = zip(*(entry._columns() for entry in draws), strict=True)
    return Draws(*(None if column[0] is None else torch.stack(column) for column in columns))  # type: ignore[arg-type]


def draw(count: int, recipe: Recipe, generator: torch.Generator) -> Draws:
    """The random numbers for `count` pictures; what the recipe does not ask for is not drawn."""
    offsets = torch.randint(0, 2 * recipe.padding + 1, (2, count), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    angles = colours = noise_seed = None
    if recipe.rotation:
        angles = _symmetric((count,), generator) * math.radians(recipe.rotation)
    if recipe.colour_jitter:
        reach = torch.tensor([1.0, 1.0, 1.0, 0.5])[:, None] * recipe.colour_jitter
        centre = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None]
        colours = centre + reach * _symmetric((4, count), generator)
    if recipe.noise:
        noise_seed = torch.randint(0, 2**62, (), generator=generator)
    return Draws(offsets, flips & recipe.flip, angles, colours, noise_seed)


def _symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def apply(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    """Shift, flip, turn and recolour uint8 `(N, 3, H, W)`, with `draws` on their device; float in [0, 1].

    The noise is apart (`add_noise`): it comes last, after degradations.
    """
    changed = _shift_and_flip(images, draws.offsets - recipe.padding, draws.flips)
    if draws.angles is not None:
        changed = rotate(changed, draws.angles)
    if draws.colours is not None:
        changed = recolour(changed, draws.colours)
    return changed


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """All the random changes that the recipe asks for of uint8 `(N, 3, H, W)`, as float in [0, 1]."""
    draws = draw(len(images), recipe, generator).to(images.device)
    return add_noise(apply(images, draws, recipe), draws, recipe)


def _shift_and_flip(images: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
    count, _, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device)[None] + shifts[0, :, None]
    columns = torch.arange(width, device=device)[None] + shifts[1, :, None]
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    rows, columns = _reflect(rows, height), _reflect(columns, width)
    batch = torch.arange(count, device=device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).float() / 255


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


def rotate(images: Tensor, angles: Tensor) -> Tensor:
    """Turn each of `(N, 3, H, W)` in [0, 1] about its centre, counter-clockwise by its angle in radians `(N,)`.

    Bilinear, with reflected borders: no black corners betray the angle.
    """
    height, width = images.shape[-2:]
    cosine, sine, nothing = angles.cos(), angles.sin(), torch.zeros_like(angles)
    top = torch.stack([cosine, -sine * height / width, nothing], dim=1)
    bottom = torch.stack([sine * width / height, cosine, nothing], dim=1)
    grid = F.affine_grid(torch.stack([top, bottom], dim=1), list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return turned.clamp_(0, 1)  # the four weights can sum to a little more than 1


def recolour(images: Tensor, colours: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue of `(N, 3, H, W)` in [0, 1], changed by `colours` `(4, N)`.

    Each step is that of torchvision's `adjust_brightness`, `adjust_contrast`, `adjust_saturation` and `adjust_hue`,
    with one number per picture, in this order.
    """
    brightness, contrast, saturation, hue = colours[:, :, None, None, None]
    bright = (images * brightness).clamp(0, 1)
    mean = _grey(bright).mean(dim=(2, 3), keepdim=True)
    contrasted = (mean + contrast * (bright - mean)).clamp(0, 1)
    grey = _grey(contrasted)
    return turn_hue((grey + saturation * (contrasted - grey)).clamp(0, 1), hue[:, 0])


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the HSV hue of `(N, 3, H, W)` in [0, 1] by `turn`, a share of the circle, `(N, 1, 1)`.

    Value and saturation stay. Source of the way back from HSV: its closed form,
    v - v s max(0, min(k, 4 - k, 1)) with k = (n + 6 h) mod 6 and n = 5, 3, 1 for red, green, blue.
    """
    value, strongest = images.max(dim=1)
    chroma = value - images.min(dim=1).values
    red, green, blue = images.unbind(dim=1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sextants = torch.stack([(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe])
    hue = sextants.gather(0, strongest[None])[0] + 6 * turn
    keys = [(hue + shift).remainder(6) for shift in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in keys], dim=1)


def add_noise(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    """Add Gaussian noise of standard deviation `recipe.noise` to `(N, 3, H, W)`, clipped to [0, 1]."""
    if draws.noise_seed is None:
        return images
    generator = torch.Generator(images.device).manual_seed(int(draws.noise_seed))
    field = torch.randn(images.shape, generator=generator, device=images.device)
    return (images + recipe.noise * field).clamp_(0, 1)
