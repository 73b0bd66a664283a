"""Does the study's method mean anything on these two networks? Rows of a validity card for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from data.datasets import ImageSource
from models.registry import Model
from xai.attribution import METHODS, no_evidence
from xai.compare import baselines, deletion, pointing, randomisation, resampling, validity_found
from xai.compare.map_metrics import pearson_rows
from xai.compare.sections import Found, Measured, Section, Table, register
from xai.compare.study import Facts
from xai.compare.validity_cards import cards
from xai.map_agreement import TOP_SHARE
from xai.results import UNTOUCHED

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure

SAMPLE = 100
"""Images on which pixels are deleted and weights drawn anew."""
_TOGETHER = 256


def measure(bench: Bench) -> Measured:
    """`images`: one row per image and network, what its map is beside HiResCAM and, where masks are known, beside them;
    `curves`: areas of deletion and insertion of a sample; `weights`: maps of it as weights are drawn anew."""
    chosen = sample(bench.data.labels.numpy(), SAMPLE, bench.study.seed)
    images, curves, weights = [], [], []
    for place, model in enumerate(bench.models):
        plain = _baselines(bench, model)
        everything = np.arange(len(bench.data), dtype=np.int32)
        images.append(_placed(_per_image(bench, model, plain), everything, place))
        curves.append(_placed(_curves(bench, model, plain, chosen), chosen, place))
        drawn = _weights(bench, model, chosen)
        weights.append(_placed(drawn, chosen[drawn.pop("row")], place))
    return {"images": _stacked(images), "curves": _stacked(curves), "weights": _stacked(weights)}


def sample(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows int32, rising, of `count` images (all, where there are fewer), as evenly over the classes as can be.

    `labels` are int64 `(N,)`; drawn with `seed`.
    """
    shuffled = np.random.default_rng((seed, 0)).permutation(len(labels))
    turn = np.zeros(len(labels), np.int64)  # an image of turn k is the k-th of its class to be taken
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:count]).astype(np.int32)


def _placed(columns: Table, images: np.ndarray, network: int) -> Table:
    return {"image": images, "network": np.full(len(images), network, np.int8), **columns}


def _stacked(parts: list[Table]) -> Table:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _baselines(bench: Bench, model: Model) -> dict[str, np.ndarray]:
    """Maps `(N, h, w)` of every baseline on the network's grid."""
    grid = bench.maps(model).maps[bench.study.method].shape[1:]
    parts = []
    for start in range(0, len(bench.data), _TOGETHER):
        rows = slice(start, min(start + _TOGETHER, len(bench.data)))
        seen = bench.images(model, bench.data, UNTOUCHED, rows)
        parts.append(baselines.maps(seen, (grid[0], grid[1]), (bench.study.seed, 1, start)))
    return _stacked(parts)


def _per_image(bench: Bench, model: Model, plain: dict[str, np.ndarray]) -> Table:
    """`agreement` of Grad-CAM and `faithful` of the study's method with HiResCAM, whether the map is `blank`, and where
    masks are known the `area` of each and by `MEASURE_MAP` how far maps land on it."""
    found = bench.maps(model).maps
    columns: Table = {
        "agreement": pearson_rows(found["gradcam"], found["hirescam"]),
        "faithful": pearson_rows(found[bench.study.method], found["hirescam"]),
        "blank": no_evidence(torch.from_numpy(found[bench.study.method])).numpy(),
    }
    if bench.masks is not None:
        columns |= _landing({"map": found[bench.study.method], **plain}, bench.masks, bench.study.seed)
    return _small(columns)


def _landing(maps: dict[str, np.ndarray], masks: np.ndarray, seed: int) -> Table:
    found: Table = {"area": masks.mean(axis=(1, 2))}
    for name, stack in maps.items():
        measured = pointing.measures(stack, masks, (seed, 2))
        found |= {f"{measure}_{name}": values for measure, values in measured.items()}
    return found


def _small(columns: Table) -> Table:
    """Numbers in single precision."""
    return {
        name: values.astype(np.float32) if values.dtype.kind == "f" else values
        for name, values in columns.items()
    }


def _curves(bench: Bench, model: Model, plain: dict[str, np.ndarray], chosen: np.ndarray) -> Table:
    """Areas by `CURVE_MAP` of the chosen images, for the classes predicted on the clean images."""
    found = bench.maps(model)
    maps = {"map": found.maps[bench.study.method], **plain}
    areas = deletion.areas(
        model,
        _images(bench, model, chosen),
        {name: stack[chosen] for name, stack in maps.items()},
        found.targets[chosen],
        seed=bench.study.seed,
        tell=lambda done: bench.tell(done, len(chosen), f"deletion and insertion by {model.name}"),
    )
    return _small(areas)


def _images(bench: Bench, model: Model, chosen: np.ndarray) -> torch.Tensor:
    data: ImageSource = bench.data.take(torch.from_numpy(chosen.astype(np.int64)))
    return bench.images(model, data, UNTOUCHED, slice(0, len(chosen)))


def _weights(bench: Bench, model: Model, chosen: np.ndarray) -> Table:
    """What becomes of the chosen images' maps as weights are drawn anew."""
    found = bench.maps(model)
    return randomisation.similarities(
        model,
        _images(bench, model, chosen),
        found.maps[bench.study.method][chosen],
        found.targets[chosen],
        method=bench.study.method,
        layer=bench.layer(model),
        seed=bench.study.seed,
        tell=lambda done, total: bench.tell(done, total, f"{model.name} with weights drawn anew"),
    )


def summarise(facts: Facts, rows: Measured) -> Found:
    """What the maps of each network are shown to be, and whether those of the two may be compared; from rows alone."""
    return validity_found.found(facts, rows)


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """A card for each network, and the similarity of maps as weights are drawn anew."""
    from xai.figure_compare_validity import validity_figure

    return {"validity": validity_figure(cards(facts, rows))}


def method(facts: Facts, rows: Measured) -> str:
    """How the numbers were made, for a paper."""
    title = METHODS[facts.study.method].title
    count = len(np.unique(rows["curves"]["image"]))
    family = sum(len(card.contests) for card in cards(facts, rows))
    return (
        f"Whether {title} means anything on each network was asked of its raw, signed maps. Agreement is Pearson's"
        f" correlation of the Grad-CAM and HiResCAM maps of {facts.images:,} images. Deletion and insertion (Petsiuk et"
        f" al. 2018) are areas under the probability of the predicted class over {deletion.STEPS} steps on {count}"
        " images spread evenly over the classes: pixels in the order of the bilinearly enlarged map, deleted to"
        " ImageNet's mean colour and inserted into the image blurred with sigma = width / 16."
        f" {_MASKS if facts.has_masks else ''}Baselines on the same grid are a random map, a centred Gaussian (sigma ="
        f" side / {baselines.SPREAD}) and the Sobel magnitude of the luma averaged over each cell. {_DRAWN}Means have"
        f" 95 % bootstrap intervals over images ({resampling.RESAMPLES:,} resamples); p values of map against baseline"
        f" are from sign flips ({resampling.FLIPS:,} draws), adjusted by Holm over all {family} of both networks."
    )


_MASKS = (
    "On the true masks: the pointing game (the middle of the highest cell lies on the object, ties by lot; Wilson's"
    " interval), the share of the positive part of the bilinearly enlarged map inside the mask, and the share of the"
    f" area of the {100 * TOP_SHARE:g} % highest cells inside it; chance is the mask's share of the image. "
)
_DRAWN = (
    "For the randomisation check (Adebayo et al. 2018) weights were drawn anew on a copy of the network from the"
    f" classifier down, stage by stage, {randomisation.DRAWS} times on the same {SAMPLE} images at most; similarity is"
    " Spearman's rank correlation of the signed maps for the same class, averaged over the draws of an image;"
    " its interval is over images, for these draws. "
)


SECTION = register(
    Section(
        "validity",
        "Validity",
        "Does the heatmap method mean anything on each of the two networks?",
        measure,
        summarise,
        draw,
        method,
    )
)
