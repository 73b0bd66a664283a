"""Does a map depend on what the network has learned? Weights are drawn anew from the top down, on a copy.

The cascading test of Adebayo et al. (NeurIPS 2018): the classifier, then stage after stage down to the first. A map
that stays the same shows the image, or the architecture, and not what was learned.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.registry import Model
from xai.attribution import explain_all_cams, no_evidence
from xai.batching import batch_size
from xai.compare.map_metrics import spearman_rows
from xai.compare.sections import Table
from xai.hooks import find_layer, frozen

CLASSIFIER = "classifier"
DRAWS = 3
Event = tuple[str, str]


@dataclass(frozen=True)
class Step:
    """Modules, by name, that are drawn anew together, after those of all steps before.

    `reached`: with this step, everything above the tapped layer and what makes its output is drawn anew.
    """

    name: str
    modules: tuple[str, ...]
    reached: bool


def steps(model: Model, layer: str) -> list[Step]:
    """What is drawn anew one after another, from the top: the classifier, then the model's stages, deepest first.

    A module with weights of its own belongs to the first stage that ends after it began, in a run of one black image;
    what begins after all stages is the classifier.
    """
    events = _events(model, layer)
    ends = {name: time for time, (kind, name) in enumerate(events) if kind == "ends"}
    began = {name: time for time, (kind, name) in reversed(list(enumerate(events))) if kind == "begins"}
    stages = sorted((name for name in model.stages if name in ends), key=lambda name: ends[name])
    groups: dict[str, list[str]] = {name: [] for name in (*stages, CLASSIFIER)}
    for name, time in began.items():
        groups[next((stage for stage in stages if ends[stage] > time), CLASSIFIER)].append(name)
    makers = {name for name, time in began.items() if time < ends[layer]}
    filled = [(name, groups[name]) for name in (CLASSIFIER, *reversed(stages)) if groups[name]]
    first = next((place for place, (_, group) in enumerate(filled) if makers & set(group)), len(filled))
    return [Step(name, tuple(group), place >= first) for place, (name, group) in enumerate(filled)]


def _events(model: Model, layer: str) -> list[Event]:
    """What began (modules with weights of their own) and ended (stages and the tapped layer), in order."""
    events: list[Event] = []

    def note(kind: str, name: str) -> Callable[..., None]:
        return lambda *_: events.append((kind, name))

    with model.lock, frozen(model.network):
        found = [(name, module) for name, module in model.network.named_modules() if module._parameters]
        handles = [module.register_forward_pre_hook(note("begins", name)) for name, module in found]
        for name in dict.fromkeys((*model.stages, layer)):
            handles.append(find_layer(model.network, name).register_forward_hook(note("ends", name)))
        try:
            model.predict(torch.zeros(1, 3, model.input_size, model.input_size))
        finally:
            for handle in handles:
                handle.remove()
    return events


def draw_anew(module: nn.Module, generator: torch.Generator) -> None:
    """Give a module's own weights new values: He's normal distribution (ICCV 2015) for those of two and more
    dimensions, by the number of outputs in convolutions as when networks are built here; scales 1, offsets 0, and
    running statistics as before training."""
    mode: Literal["fan_out", "fan_in"] = "fan_out" if isinstance(module, nn.Conv2d) else "fan_in"
    for name, weight in module._parameters.items():
        if weight is None:
            continue
        drawn = torch.full(weight.shape, 0.0 if "bias" in name else 1.0)
        if weight.ndim > 1:
            nn.init.kaiming_normal_(drawn, mode=mode, nonlinearity="relu", generator=generator)
        with torch.no_grad():
            weight.copy_(drawn)
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.reset_running_stats()


def copied(model: Model) -> Model:
    """The same model with a network and a lock of its own."""
    with model.lock:
        return replace(model, network=copy.deepcopy(model.network), lock=threading.RLock())


def cascade(
    model: Model, layer: str, seed: Sequence[int], order: Sequence[Step] | None = None
) -> Iterator[tuple[Step, Model]]:
    """Step after step with the model as it then is: always the same copy, changed further. `model` stays as it is."""
    order = steps(model, layer) if order is None else order
    changed = copied(model)
    generator = torch.Generator().manual_seed(int(np.random.default_rng(seed).integers(2**63)))
    for step in order:
        for name in step.modules:
            draw_anew(changed.network.get_submodule(name), generator)
        yield step, changed


def similarities(
    model: Model,
    images: Tensor,
    original: np.ndarray,
    targets: np.ndarray,
    *,
    method: str,
    layer: str,
    seed: int = 0,
    draws: int = DRAWS,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """How alike maps are to the `original` ones `(N, h, w)` of images `(N, 3, H, W)` as weights are drawn anew.

    One row for every draw, step and image: `draw`, `step` (0 the classifier), its `stage` and whether the tapped layer
    is `reached`, `row` (of `images`), `spearman` of the raw signed maps for `targets` `(N,)` (NaN where a map is
    constant) and `blank` (the map says nothing for the class any more).
    """
    order, parts = steps(model, layer), []
    for draw in range(draws):
        for place, (step, changed) in enumerate(cascade(model, layer, (seed, draw), order)):
            tell(draw * len(order) + place, draws * len(order))
            maps = _maps(changed, images, targets, method, layer)
            parts.append(_rows(draw, place, step, original, maps))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(draw: int, place: int, step: Step, original: np.ndarray, maps: np.ndarray) -> Table:
    count = len(maps)
    fixed: dict[str, Any] = {"draw": np.int16(draw), "step": np.int16(place), "stage": step.name}
    return {
        **{name: np.full(count, value) for name, value in fixed.items()},
        "reached": np.full(count, step.reached),
        "row": np.arange(count, dtype=np.int32),
        "spearman": spearman_rows(original, maps).astype(np.float32),
        "blank": no_evidence(torch.from_numpy(maps)).numpy(),
    }


def _maps(model: Model, images: Tensor, targets: np.ndarray, method: str, layer: str) -> np.ndarray:
    parts, wanted = [], torch.from_numpy(targets)
    for rows, classes in zip(images.split(batch_size(images)), wanted.split(batch_size(images)), strict=True):
        found = explain_all_cams(model, rows, [method], targets=classes, layers=[layer])
        parts.append(found[method].values.numpy())
    return np.concatenate(parts)
