"""From maps of several networks to rows: how alike they are, on the same image and with images shuffled.

Means over all shuffles are exact: rank correlations and overlaps are products, so that the mean over all other images'
maps is the product with their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from xai.compare import baselines, map_metrics
from xai.compare.sections import Table

SHUFFLES = 999
_BLOCK = 500


@dataclass(frozen=True)
class Stack:
    """One network's maps `(N, h, w)` on the common grid, and the names `(N,)` of the classes that they are for.

    `hirescam` are its HiResCAM maps for the same, `judged` `(N,)` how they go with Grad-CAM's on its own grid.
    """

    maps: np.ndarray
    hirescam: np.ndarray
    judged: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Products:
    """Maps as rows `(N, h w)` of which products are measures: `ranks` give rank correlations, `tops` overlaps."""

    ranks: np.ndarray
    tops: np.ndarray

    @property
    def defined(self) -> np.ndarray:
        """Which maps are not constant, bool `(N,)`."""
        return ~np.isnan(self.ranks[:, 0])


def products(maps: np.ndarray) -> Products:
    """Rows of unit length for `(N, h, w)`; NaN for constant maps."""
    ranks = map_metrics.centred_ranks(maps)
    ranks /= np.sqrt((ranks * ranks).sum(axis=1, keepdims=True))
    tops = map_metrics.top_chances(maps) / np.sqrt(map_metrics.top_count(maps))
    return Products(ranks, tops)


def without_mean(maps: np.ndarray) -> np.ndarray:
    """Maps `(N, h, w)` less the network's mean map, each brought to mean 0 and deviation 1 before, so that all count
    the same and what is left does not depend on their scale; NaN for constant maps."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    rest = flat - flat.mean(axis=1, keepdims=True)
    constant = np.isnan(map_metrics.centred_ranks(maps)[:, 0])
    deviation = np.where(constant, np.nan, rest.std(axis=1))
    scaled = rest / np.where(deviation > 0, deviation, np.nan)[:, None]
    known = ~np.isnan(scaled[:, :1])
    middle = np.where(known, scaled, 0).sum(axis=0) / max(1, int(known.sum()))
    return (scaled - middle).reshape(maps.shape)


def clean_tables(stacks: Sequence[Stack], groups: np.ndarray, seed: int) -> dict[str, Table]:
    """All tables of the clean images; `groups` int `(N,)` is the class that the first two stacks both explain, else -1.

    `images` has one shuffled pair for each image, `shuffles` the means of random orders, of all images (0) or within
    their class (1).
    """
    a, b = (products(stack.maps) for stack in stacks[:2])
    scopes = (np.where(groups >= 0, 0, -1), groups)
    singles = [drawn(a, b, scope, (seed, 2 + place)) for place, scope in enumerate(scopes)]
    orders = [shuffles(a, b, scope, (seed, 4 + place)) for place, scope in enumerate(scopes)]
    return {
        "images": {
            "image": np.arange(len(groups), dtype=np.int32),
            "drawn": singles[0],
            "drawn_class": singles[1],
        },
        "pairs": pairs(stacks),
        "single": single(stacks),
        "shuffles": joined(
            [
                {"within_class": np.full(len(order["spearman"]), place, np.int16), **order}
                for place, order in enumerate(orders)
            ]
        ),
    }


def pairs(stacks: Sequence[Stack]) -> Table:
    """A row for every image and two networks: whether both explain the same class, and how alike their maps are."""
    rows, hirescam = ([products(maps) for maps in each] for each in _both(stacks))
    own = [products(without_mean(stack.maps)) for stack in stacks]
    parts = [
        {
            **_numbered(len(stacks[0].maps), first=first, second=second),
            "same": stacks[first].classes == stacks[second].classes,
            "spearman": _product(rows[first].ranks, rows[second].ranks),
            "overlap": _product(rows[first].tops, rows[second].tops),
            "centred": _product(own[first].ranks, own[second].ranks),
            "hirescam": _product(hirescam[first].ranks, hirescam[second].ranks),
        }
        for first, second in combinations(range(len(stacks)), 2)
    ]
    return joined(parts)


def _both(stacks: Sequence[Stack]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [stack.maps for stack in stacks], [stack.hirescam for stack in stacks]


def single(stacks: Sequence[Stack]) -> Table:
    """A row for every network and image: is the map constant, how alike is it to a Gaussian in the middle (`spearman`,
    `overlap`), and how are Grad-CAM and HiResCAM (`judged`)."""
    parts = []
    for number, stack in enumerate(stacks):
        count, *grid = stack.maps.shape
        gaussian = baselines.centre(torch.empty(1, 3, 1, 1), (grid[0], grid[1]), (0,)).numpy()
        rows, middle = products(stack.maps), products(gaussian)
        parts.append(
            {
                **_numbered(count, network=number),
                "constant": ~rows.defined,
                "spearman": _product(rows.ranks, middle.ranks),
                "overlap": _product(rows.tops, middle.tops),
                "judged": stack.judged.astype(np.float32),
            }
        )
    return joined(parts)


def condition(number: int, a: Products, b: Products, groups: np.ndarray) -> Table:
    """A row for every image under one condition: agreement, and its mean over other images of B, all and in the group.

    `groups` int `(N,)` is the class that both explain, -1 where they explain different ones; shuffled are those that
    explain the same.
    """
    used = (groups >= 0) & a.defined & b.defined
    return {
        **_numbered(len(groups), condition=number),
        "same": groups >= 0,
        "spearman": _product(a.ranks, b.ranks),
        "overlap": _product(a.tops, b.tops),
        "shuffled": against_others(a.ranks, b.ranks, np.where(used, 0, -1)).astype(np.float32),
        "shuffled_class": against_others(a.ranks, b.ranks, np.where(used, groups, -1)).astype(np.float32),
    }


def against_others(a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each image's part `(N,)` in the mean product of rows of `a` with rows of `b` of other images of its group; NaN
    for an image that is alone, or in none (-1).

    With M the group's mean, it is the mean of its row of `a` with the others' of `b`, and of its row of `b` with the
    others' of `a`, less M: the mean is M again, and over images it varies as M does when other images are drawn
    (Hajek's projection), which the means of either side alone do not.
    """
    found = np.full(len(groups), np.nan)
    for rows in members(groups):
        if len(rows) > 1:
            own = (a[rows] * b[rows]).sum(axis=1)
            sums = [x[rows] @ y[rows].sum(axis=0) - own for x, y in ((a, b), (b, a))]
            found[rows] = (sums[0] + sums[1] - sums[0].mean()) / (len(rows) - 1)
    return found


def members(groups: np.ndarray) -> list[np.ndarray]:
    """Rows of the images of each group, without those in none (-1)."""
    return [np.flatnonzero(groups == group) for group in np.unique(groups[groups >= 0])]


def derangement(groups: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """For each image another one of its group, drawn with `seed` so that each is taken once; -1 where there is none."""
    generator, found = np.random.default_rng(seed), np.full(len(groups), -1)
    for rows in members(groups):
        if len(rows) > 1:
            order = generator.permutation(rows)
            found[order] = np.roll(order, 1)
    return found


def drawn(a: Products, b: Products, groups: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Rank correlation float32 `(N,)` of each map of A with that of B for one other image of the group."""
    partner = derangement(np.where(a.defined & b.defined, groups, -1), seed)
    return np.where(partner >= 0, _product(a.ranks, b.ranks[partner]), np.nan).astype(np.float32)


def shuffles(a: Products, b: Products, groups: np.ndarray, seed: Sequence[int]) -> Table:
    """Mean agreement in each of `SHUFFLES` random orders of B's images, each within its group: what there is when it is
    not the image that the two share. Images that are alone in their group, or in none (-1), are left out."""
    used = np.where(a.defined & b.defined, groups, -1)
    kept = np.concatenate([rows for rows in members(used) if len(rows) > 1] or [np.zeros(0, np.int64)])
    if not len(kept):
        return {"spearman": np.zeros(0, np.float32), "overlap": np.zeros(0, np.float32)}
    orders = _orders(used[kept], np.random.default_rng(seed))
    return {
        "spearman": _means(a.ranks[kept], b.ranks[kept], orders),
        "overlap": _means(a.tops[kept], b.tops[kept], orders),
    }


def _orders(groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Random orders int64 `(SHUFFLES, n)` within groups, which follow each other."""
    _, number = np.unique(groups, return_inverse=True)
    keys = number + generator.random((SHUFFLES, len(groups)))
    found: np.ndarray = keys.argsort(axis=1)
    return found


def _means(a: np.ndarray, b: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Mean product float32 `(SHUFFLES,)` of rows of `a` with rows of `b` in each order."""
    sums = np.zeros(len(orders))
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, start + _BLOCK)
        table = a[rows].astype(np.float32) @ b.T.astype(np.float32)
        sums += table[np.arange(len(table)), orders[:, rows]].sum(axis=1, dtype=np.float64)
    return (sums / len(a)).astype(np.float32)


def joined(parts: Sequence[Table]) -> Table:
    """Tables of the same columns below each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _numbered(count: int, **numbers: int) -> Table:
    columns = {name: np.full(count, number, np.int16) for name, number in numbers.items()}
    return {"image": np.arange(count, dtype=np.int32), **columns}


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products float32 `(N,)` of rows, within [-1, 1]."""
    return np.clip((a * b).sum(axis=1), -1, 1).astype(np.float32)
