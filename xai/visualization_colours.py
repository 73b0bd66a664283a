"""How the colours of natural images vary together, for pictures whose colours are decorrelated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.cards import Card
from xai.attribution_types import ExplanationError

_CHUNK = 2048


@dataclass(frozen=True)
class Colours:
    """Mean `(3,)` and covariance `(3, 3)` of the red, green and blue of pixels in [0, 1], and where they are from."""

    mean: tuple[float, float, float]
    covariance: tuple[tuple[float, float, float], ...]
    source: str

    def basis(self) -> Tensor:
        """A square root of the covariance `(3, 3)`, directions of colour as columns, longest first, the longest of
        length 1: `U sqrt(S)` of its singular value decomposition over its first length, as in Lucid."""
        directions, variances, _ = torch.linalg.svd(torch.tensor(self.covariance, dtype=torch.float64))
        signs = directions.sum(0).sign()
        root = directions * torch.where(signs == 0, 1.0, signs) * variances.sqrt()
        return (root / variances[0].sqrt()).float()


def colour_statistics(images: Tensor, source: str = "these images") -> Colours:
    """Mean and covariance of the colours of all pixels of images `(N, 3, H, W)`, uint8 or float in [0, 1].

    Every image counts as it is; the covariance is that of the population, in units of the squared range.
    """
    count, total, products = 0, torch.zeros(3).double(), torch.zeros(3, 3).double()
    for part in images.split(_CHUNK):
        pixels = part.transpose(0, 1).flatten(1).double() / (1 if part.is_floating_point() else 255)
        count += pixels.shape[1]
        total += pixels.sum(1)
        products += pixels @ pixels.T
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    return Colours(tuple(mean.tolist()), tuple(tuple(row) for row in covariance.tolist()), source)


_LUCID = torch.tensor(((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03)), dtype=torch.float64)
_GREY = Colours(
    (0.5, 0.5, 0.5), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), "none: colours are free"
)
COLOURS: dict[str, Colours] = {
    "none": _GREY,
    "cue10": Colours(
        (0.50114, 0.49953, 0.49969),
        ((0.049201, 0.023247, 0.023421), (0.023247, 0.049019, 0.023304), (0.023421, 0.023304, 0.048926)),
        "all 12,000 training scenes of cue10",
    ),
    "cifar10": Colours(
        (0.49123, 0.48212, 0.44668),
        ((0.060137, 0.054791, 0.051395), (0.054791, 0.058923, 0.057844), (0.051395, 0.057844, 0.067888)),
        "all 46,000 training images of cifar10-jpeg",
    ),
    "imagenet": Colours(
        (0.48, 0.46, 0.41),
        tuple(tuple(row) for row in (_LUCID @ _LUCID.T).tolist()),
        "ImageNet, as published with Lucid",
    ),
}
"""Measured by `colour_statistics`, but for ImageNet's, which are Lucid's `color_correlation_svd_sqrt` and mean."""
_DATASETS = {
    "cue10": "cue10",
    "cifar10": "cifar10",
    "cifar10-jpeg": "cifar10",
    "cifar100": "cifar10",
    "imagenet": "imagenet",
}


def colours_for(card: Card, name: str) -> tuple[Colours, str]:
    """The colours called `name`, and a note; `dataset` takes those of the network's dataset.

    A dataset without statistics gets ImageNet's, and the note says so. Raises `ExplanationError` for an unknown name.
    """
    if name != "dataset":
        if name not in COLOURS:
            raise ExplanationError(f"colours is {name!r}; allowed are dataset, {', '.join(COLOURS)}.")
        return COLOURS[name], ""
    if card.dataset in _DATASETS:
        return COLOURS[_DATASETS[card.dataset]], ""
    return COLOURS["imagenet"], f"Colours of {card.dataset} were not measured; ImageNet's are used."
