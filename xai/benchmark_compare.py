"""How long the heatmaps of a comparison take, beside the bare forward and partial backward passes that they need."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from data.datasets import DatasetError, ImageSource, evenly_spread, open_dataset
from models import zoo
from models.registry import Model
from xai import benchmark_embedding
from xai.benchmark_embedding import Comparison, Work
from xai.compare.bench import Bench
from xai.compare.study import Study
from xai.evaluation import forward_batch_size
from xai.hooks import frozen, tapped

PAIRS = (
    ("alexnet-cifar10-jpeg-s0", "resnet18_cifar-w16-cifar10-jpeg-s0"),
    ("resnet18-cifar10-jpeg-s0", "resnet18_cifar-w16-cifar10-jpeg-s0"),
    ("alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0"),
)
TARGET = 1.30


def rows(quick: bool) -> Iterator[Comparison]:
    """All heatmaps of two networks under the paper's grid, from images on disk to files in an empty cache: degrading,
    answers, maps of two methods for the clean and for the present prediction, storing."""
    for names in PAIRS:
        models = {name: zoo.load(name) for name in names}
        try:
            whole = open_dataset(models[names[0]].card.dataset, "test", None)
        except DatasetError:  # not on this machine
            continue
        data = evenly_spread(whole, 128 if quick else 512)
        study = Study(names, data.name, limit=None)
        what = f"heatmaps of a comparison, {' + '.join(names)} / bare passes"
        yield what, _heatmaps(study, models, data), _bare(study, models, data), TARGET, 3


def _bench(study: Study, models: dict[str, Model], data: ImageSource, *, keep: bool) -> Bench:
    return Bench(study, load=models.__getitem__, opened=lambda *_given: data, keep_maps=keep)


def _heatmaps(study: Study, models: dict[str, Model], data: ImageSource) -> Work:
    def work() -> None:
        with tempfile.TemporaryDirectory() as folder, benchmark_embedding._cache(folder):
            bench = _bench(study, models, data, keep=True)
            for condition in bench.facts.conditions:
                for model in bench.models:
                    bench.maps(model, condition)

    return work


def _bare(study: Study, models: dict[str, Model], data: ImageSource) -> Work:
    """A forward pass of every batch under every condition and a backward pass down to the tapped layer, with a second
    one where predictions change; the images are the clean ones, at hand, and nothing is made of the gradients."""
    images = data.pixels(slice(None)).float() / 255
    batches = images.split(forward_batch_size(images, images.device))
    bench = _bench(study, models, data, keep=False)
    passes = [
        (model, bench.layer(model), _changed(bench, model, [len(batch) for batch in batches]))
        for model in bench.models
    ]

    def work() -> None:
        for model, layer, again in passes:
            for changes in again:
                for batch, changed in zip(batches, changes, strict=True):
                    _pass(model, batch, layer, 2 if changed else 1)

    return work


def _changed(bench: Bench, model: Model, sizes: Sequence[int]) -> list[list[bool]]:
    """For every condition, whether some prediction in each batch is another than the clean one."""
    found = []
    for condition in bench.facts.conditions:
        maps = bench.maps(model, condition)
        changes = torch.from_numpy(maps.predicted != maps.targets).split(list(sizes))
        found.append([bool(part.any()) for part in changes])
    return found


def _pass(model: Model, batch: Tensor, layer: str, times: int) -> None:
    with frozen(model.network), tapped(model.network, [layer]) as taps:
        logits = model.network(batch)
        score = logits.amax(dim=1).sum()
        for left in reversed(range(times)):
            torch.autograd.grad(score, [taps[layer]], retain_graph=left > 0)
