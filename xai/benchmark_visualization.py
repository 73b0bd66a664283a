"""Feature visualisations per minute, and how strongly they excite, beside the PyTorch port of Lucid.

torch-lucent runs as people call it: its own image, transforms and optimiser, one picture at a time, and once more as
one batch with one objective for each picture. Two of its settings are not its defaults, as the networks here ask for
it: it leaves normalisation to the network and does not enlarge pictures to 224 px. Both make the same channels of a
middle layer in the same number of steps, and are measured by the mean activation of the finished, untransformed
picture in the same network. Contestants take turns, round after round.
"""

from __future__ import annotations

import copy
import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models import registry, zoo
from models.cards import Card
from models.registry import Model
from xai.feature_visualization import Settings, visualize
from xai.figure_visualization import Panel, PanelStyle, value_words, visualizations_figure
from xai.figures import render
from xai.hooks import recorded

NAME = "visualization"
FASTER = 3.0
"""How many times as many pictures per minute are wanted."""
_LEAST = 1e-3
_ACROSS = 6


@dataclass(frozen=True)
class Case:
    """One comparison: a shipped network, or an architecture with random weights, a layer, and the work to be done.

    `alone` is how many pictures torch-lucent makes one at a time.
    """

    network: str
    layer: str
    size: int
    steps: int
    pictures: int = 16
    alone: int = 2
    rounds: int = 2


CASES = (
    Case("resnet18_cifar-w16-cifar10-jpeg-s0", "layer2", 32, 256),
    Case("resnet18-cue10-s0", "layer2", 64, 256),
    Case("alexnet_224", "features.7", 224, 256, 8, 2, 1),
)


@dataclass(frozen=True)
class Measured:
    """Seconds per picture and activations `(B,)` of one contestant."""

    seconds: float
    values: Tensor


def load(case: Case) -> Model:
    """The case's network; random weights where it is the name of an architecture."""
    if case.network not in registry.ARCHITECTURES:
        return zoo.load(case.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = registry.build(case.network, 1000)
    classes = tuple(map(str, range(1000)))
    return zoo.wrap(network, Card(case.network, case.network, "imagenet", classes, case.size, 0, "cpu", {}))


def lucent(network: nn.Module, case: Case, channels: range) -> Tensor:
    """Pictures `(B, 3, S, S)` of channels by torch-lucent, all in one batch; it has no seed of its own."""
    from lucent.optvis import objectives, param, render

    name = case.layer.replace(".", "_")
    goals = [objectives.channel(name, k, batch=row) for row, k in enumerate(channels)]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(channels.start)
        np.random.seed(channels.start)  # noqa: NPY002 (the one lucent draws its transforms from)
        pictures = render.render_vis(
            network,
            goals[0] if len(goals) == 1 else objectives.Objective.sum(goals),
            lambda: param.image(case.size, batch=len(goals)),
            thresholds=(case.steps,),
            preprocess=False,
            fixed_image_size=case.size,
            progress=False,
            show_image=False,
        )
    return torch.from_numpy(pictures[-1]).permute(0, 3, 1, 2)


def activations(network: nn.Module, layer: str, pictures: Tensor, first: int = 0) -> Tensor:
    """Mean activation `(B,)` of the channels `first`, `first + 1`, ... for the pictures of each."""
    with torch.inference_mode(), recorded(network, [layer]) as outputs:
        network(pictures)
    rows = torch.arange(len(pictures))
    return outputs[layer].mean((2, 3))[rows, first + rows]


def contestants(case: Case) -> dict[str, Callable[[], Tensor]]:
    """What each has to do, by name; each gives the activations of its pictures, measured in the same network."""
    model = load(case)
    plain = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format).requires_grad_(True)  # type: ignore[call-overload]
    texts = [f"channel:{case.layer}:{k}" for k in range(case.pictures)]
    settings = Settings(size=case.size, steps=case.steps, strip=0)

    def ours() -> Tensor:
        return activations(plain, case.layer, visualize(model, texts, settings).images)

    def alone() -> Tensor:
        pictures = [lucent(copy.deepcopy(plain), case, range(k, k + 1)) for k in range(case.alone)]
        return activations(plain, case.layer, torch.cat(pictures))

    def batch() -> Tensor:
        return activations(plain, case.layer, lucent(copy.deepcopy(plain), case, range(case.pictures)))

    return {"ours": ours, "lucent, one at a time": alone, "lucent, one batch": batch}


def measure(case: Case, clock: Callable[[], float]) -> dict[str, Measured]:
    """The median seconds per picture over the rounds, and the activations of the last."""
    works = contestants(case)
    seconds: dict[str, list[float]] = {}
    values: dict[str, Tensor] = {}
    for _ in range(case.rounds):
        for name, work in works.items():
            start = clock()
            values[name] = work()
            seconds.setdefault(name, []).append((clock() - start) / len(values[name]))
    return {name: Measured(statistics.median(seconds[name]), values[name]) for name in works}


def describe(case: Case, measured: dict[str, Measured]) -> Iterator[str]:
    """A heading and one line for each contestant: pictures per minute, our factor, and how activations compare."""
    weights = ", random weights" if case.network in registry.ARCHITECTURES else ""
    yield f"visualization at {case.layer}, {case.network}, {case.size} px, {case.steps} steps{weights}"
    ours = measured["ours"]
    yield f"  {'ours':<24}{60 / ours.seconds:8.1f} per minute"
    for name, peer in measured.items():
        if name == "ours":
            continue
        factor, same = peer.seconds / ours.seconds, ours.values[: len(peer.values)]
        gain = math.exp(float((same.clamp_min(_LEAST) / peer.values.clamp_min(_LEAST)).log().mean()))
        mean, higher = float(same.mean() / peer.values.mean()), int((same >= peer.values).sum())
        verdict = "met" if factor >= FASTER and gain >= 1 else "NOT met"
        yield (
            f"  {name:<24}{60 / peer.seconds:8.1f} per minute; ours {factor:.1f} times as many, {gain:.2f} times the "
            f"activation (geometric mean; mean {mean:.2f}; higher for {higher} of {len(same)}) {verdict}"
        )


def draw_beside(path: Path, case: Case = CASES[0], layers: Sequence[str] = ("layer2", "layer4")) -> None:
    """Save a PNG: the first channels of some layers, ours in one row and torch-lucent's in the next."""
    rows = [row for layer in layers for row in _row_pair(replace(case, layer=layer, pictures=_ACROSS))]
    notes = (
        f"{case.network}, {case.steps} steps each, torch-lucent's in one batch; the number is the "
        "channel's mean activation for the finished picture in the same network."
    )
    figure = visualizations_figure(rows, PanelStyle(steps=False), notes)
    path.write_bytes(render(figure, "png", 200))


def _row_pair(case: Case) -> list[Panel]:
    """Panels of our pictures, then of torch-lucent's."""
    model = load(case)
    plain = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format).requires_grad_(True)  # type: ignore[call-overload]
    texts = [f"channel:{case.layer}:{k}" for k in range(case.pictures)]
    ours = visualize(model, texts, Settings(size=case.size, steps=case.steps, strip=0)).images
    theirs = lucent(copy.deepcopy(plain), case, range(case.pictures))
    return [
        Panel(
            f"{maker}: {value_words(float(value))}", f"channel {k} of {case.layer}", picture, torch.empty(0)
        )
        for maker, pictures in (("ours", ours), ("torch-lucent", theirs))
        for k, (picture, value) in enumerate(
            zip(pictures, activations(plain, case.layer, pictures), strict=True)
        )
    ]


def table(quick: bool, clock: Callable[[], float]) -> Iterator[str]:
    """All lines, or one that says what is missing; the quick ones leave out 224 px."""
    if find_spec("lucent") is None:
        yield f"{NAME}: not measured; its peer is not installed (pip install torch-lucent)"
        return
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")
    for case in CASES:
        if not quick or case.size < 224:
            yield from describe(case, measure(case, clock))
