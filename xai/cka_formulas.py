"""Centred kernel alignment of two tables of features (Kornblith et al., ICML 2019), biased and unbiased."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

LEAST = 4
"""Images that a batch needs: the unbiased estimate divides by their number less 3."""
_ROUNDING = 8
"""Roundings by which equal features may differ."""


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear CKA of features `(N, ...)` and `(N, ...)` of the same N images, in [0, 1]; NaN where one is constant.

    `|Y'X|^2 / (|X'X| |Y'Y|)` with Frobenius norms of centred columns, computed from the N x N Gram matrices. It is
    biased upwards where N is small beside the number of features: `minibatch_cka` is not. Raises `ValueError`
    unless both have the same N >= 2.
    """
    _check(x, y, least=2)
    first, second = (_centred(gram(values.double())) for values in (x, y))
    return float((first * second).sum() / (first.norm() * second.norm()))


def _centred(gram: Tensor) -> Tensor:
    return gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()


def gram(features: Tensor) -> Tensor:
    """Inner products `(N, N)` of the images' features, which are centred first: smaller numbers round less.

    Features that differ by rounding alone are all the same: their products are 0.
    """
    flat = features.flatten(1)
    moved = flat - flat.mean(dim=0)
    if moved.abs().amax() <= _ROUNDING * torch.finfo(flat.dtype).eps * flat.abs().amax():
        moved = torch.zeros_like(flat)
    return moved @ moved.T


def u_centred(gram: Tensor) -> Tensor:
    """A Gram matrix `(N, N)`, N >= 4, without its diagonal and centred so that rows and columns add up to 0.

    The sum of products of two such matrices is `N (N - 3)` times the unbiased HSIC (Song et al., Feature selection
    via dependence maximization, JMLR 2012; in this form Székely & Rizzo, 2014).
    """
    n = len(gram)
    plain = gram.clone().fill_diagonal_(0)
    sums = plain.sum(dim=1)
    plain -= (sums[:, None] + sums) / (n - 2) - sums.sum() / ((n - 1) * (n - 2))
    return plain.fill_diagonal_(0)


def unbiased_hsic(x: Tensor, y: Tensor) -> float:
    """Unbiased HSIC with linear kernels of features `(N, ...)` and `(N, ...)`; 0 is expected of unrelated ones.

    Raises `ValueError` unless both have the same N >= 4.
    """
    _check(x, y, least=LEAST)
    first, second = (u_centred(gram(values.double())) for values in (x, y))
    return float((first * second).sum() / (len(x) * (len(x) - 3)))


def minibatch_cka(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Linear CKA of features that come in batches `(x, y)` of at least 4 images; the order of batches is free.

    The three unbiased HSICs are averaged over the batches before the ratio is taken, so neither the size of the
    batches nor the number of features biases it (Nguyen et al., Do wide and deep networks learn the same things?,
    ICLR 2021, equation 3). NaN where one side is constant. Raises `ValueError` for no batches and small ones.
    """
    triples = [(unbiased_hsic(x, y), unbiased_hsic(x, x), unbiased_hsic(y, y)) for x, y in batches]
    if not triples:
        raise ValueError("no batch was given; needed is at least one.")
    across, first, second = torch.tensor(triples, dtype=torch.float64).mean(dim=0)
    return float(ratio(across, first, second))


def ratio(across: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """CKA from HSICs; NaN where a layer's own is not above 0."""
    own = first * second
    return torch.where((first > 0) & (second > 0), across / own.clamp_min(0).sqrt(), torch.nan)


def _check(x: Tensor, y: Tensor, least: int) -> None:
    if x.ndim < 2 or y.ndim < 2 or len(x) != len(y) or len(x) < least:
        raise ValueError(
            f"features have the shapes {tuple(x.shape)} and {tuple(y.shape)}; allowed are (N, ...) and (N, ...) of "
            f"the same N images, at least {least}."
        )
