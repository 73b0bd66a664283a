"""How long explanations, sweeps and degradations take, beside forward passes, grad-cam, captum and plain loops.

`python -m xai.benchmark [--quick] [--threads N] [--clock wall|cpu] [--only WORD]` prints a table of ratios.
Contestants of a row take turns, round after round; a ratio is the median over the rounds of the quotient
within a round, so that other work on the machine hits all alike. Weights are random: time does not depend on
them. Peers run as people call them, on a network in its default memory layout whose weights need gradients.
On a machine that is busy otherwise, one thread and the processor's clock (`--threads 1 --clock cpu`) still
tell the truth about the work done.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import registry, zoo
from models.cards import Card
from models.precision import cpu_has_bf16
from models.registry import Model
from xai import (
    attribution,
    benchmark_compare,
    benchmark_degradations,
    benchmark_embedding,
    benchmark_features,
    benchmark_visualization,
    cam,
    evaluation,
    evaluation_grid,
)
from xai.training import load_split

Work = Callable[[], object]
_PEERS = (
    "GradCAM",
    "GradCAMPlusPlus",
    "XGradCAM",
    "LayerCAM",
    "HiResCAM",
    "EigenCAM",
    "GradCAMElementWise",
)
_EVEN = 1.0
_CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Row:
    """One comparison: `ours` against `peer`, and how large the quotient of their times may be (None: no target)."""

    what: str
    ours: Work
    peer: Work
    target: float | None
    rounds: int


@dataclass(frozen=True)
class Subject:
    """A model, a batch, and a copy of its network as people use it with other libraries."""

    label: str
    model: Model
    images: Tensor
    layer: str
    plain: nn.Module

    @property
    def targets(self) -> Tensor:
        """Class 0 for every image."""
        return torch.zeros(len(self.images), dtype=torch.int64)


def subject(architecture: str, size: int, batch: int, layer: str | None = None) -> Subject:
    """An untrained network of the architecture and a batch of noise; the layer is the last stage unless named."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = registry.build(architecture, 10)
    card = Card(architecture, architecture, "none", tuple("0123456789"), size, 0, "cpu", {}, sha256="0" * 64)
    model = zoo.wrap(network, card)
    plain = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format).requires_grad_(True)  # type: ignore[call-overload]
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    layer = layer or model.stages[-1]
    return Subject(f"{architecture}, {size} px, batch {batch}", model, images, layer, plain)


def measure(row: Row, clock: Callable[[], float] = time.perf_counter) -> tuple[float, float, float]:
    """Median seconds of ours, of the peer, and the median quotient, over interleaved rounds after a warm-up."""
    times: list[tuple[float, float]] = []
    for number in range(row.rounds + 1):
        pair = (_seconds(row.ours, clock), _seconds(row.peer, clock))
        times += [pair] if number else []
    ours, peer = (statistics.median(column) for column in zip(*times, strict=True))
    return ours, peer, statistics.median(a / b for a, b in times)


def _seconds(work: Work, clock: Callable[[], float]) -> float:
    gc.disable()
    start = clock()
    work()
    elapsed = clock() - start
    gc.enable()
    return elapsed


def _forward(case: Subject) -> Work:
    def work() -> Tensor:
        with torch.inference_mode():
            return case.model.network(case.images)

    return work


def _ours(case: Subject, method: str, **settings: Any) -> Work:
    layers = [case.layer] if attribution.METHODS[method].layered else None
    options = {"targets": case.targets, "layers": layers, **settings}
    return lambda: attribution.explain(case.model, case.images, method, **options)


def _all_cams(case: Subject) -> Work:
    return lambda: attribution.explain_all_cams(
        case.model, case.images, targets=case.targets, layers=[case.layer]
    )


def _grad_cam(case: Subject, names: Sequence[str]) -> Work:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classes = [getattr(pytorch_grad_cam, name) for name in names]

    def work() -> None:
        for kind in classes:
            with kind(case.plain, [case.plain.get_submodule(case.layer)]) as method:
                method(case.images, [ClassifierOutputTarget(0) for _ in case.images])

    return work


def _layer_gradcam(case: Subject) -> Work:
    from captum.attr import LayerGradCam

    method = LayerGradCam(case.plain, case.plain.get_submodule(case.layer))
    return lambda: method.attribute(case.images, target=case.targets)


def _captum_integrated(case: Subject) -> Work:
    from captum.attr import IntegratedGradients

    return lambda: IntegratedGradients(case.plain).attribute(case.images, target=0, n_steps=50)


def _captum_occlusion(case: Subject, window: int, stride: int) -> Work:
    from captum.attr import Occlusion

    method = Occlusion(case.plain)
    shapes = ((3, window, window), (3, stride, stride))
    return lambda: method.attribute(case.images, *shapes, target=0)


def _full_svd(case: Subject) -> tuple[Work, Work]:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    taps, _, _ = cam.activations_and_gradients(
        case.model.network, case.images, case.targets, [case.layer], gradients=False
    )
    activation = taps[case.layer].contiguous()
    array = activation.numpy()
    return lambda: cam.eigencam(activation, activation), lambda: get_2d_projection(array)


def gradcam_rows(quick: bool) -> Iterator[Row]:
    """One Grad-CAM against a bare forward pass, grad-cam and captum."""
    cases: list[tuple[str, int, int, str | None, float | None]] = []
    for batch, target in ((1, 1.10), (32, 1.05)):
        cases += [("resnet18_cifar", 32, batch, None, target), ("alexnet", 32, batch, None, 1.85)]
        # with the ImageNet stem the last stage is 1 x 1 at 32 px, no map: shown for layer2, without a target
        cases += [("resnet18", 32, batch, "layer2", None)]
        if not quick:
            cases += [("resnet50_cifar", 32, batch, None, target)]
            cases += [("alexnet_224", 224, batch, None, 1.85)]
            cases += [(name, 224, batch, None, target) for name in ("resnet18", "resnet50")]
    for name, size, batch, layer, limit in cases:
        case = subject(name, size, batch, layer)
        rounds, ours = (15 if batch == 1 else 5), _ours(case, "gradcam")
        what = f"Grad-CAM at {case.layer}, {case.label}"
        yield Row(f"{what} / forward", ours, _forward(case), limit, rounds)
        if layer is None:
            yield Row(f"{what} / grad-cam", ours, _grad_cam(case, ["GradCAM"]), 1 / 2.5, rounds)
            yield Row(f"{what} / captum", ours, _layer_gradcam(case), _EVEN, rounds)


def family_rows(quick: bool) -> Iterator[Row]:
    """All seven gradient CAMs against forward passes and against grad-cam once per method; EigenCAM."""
    cases = [("resnet18_cifar", 32, 16, 9.0), ("resnet50_cifar", 32, 16, 20.0)]
    cases += [] if quick else [("resnet18", 224, 16, 9.0), ("resnet50", 224, 16, 20.0)]
    for name, size, batch, faster in cases:
        case = subject(name, size, batch)
        what = f"seven CAMs, {case.label}"
        yield Row(f"{what} / forward", _all_cams(case), _forward(case), 1.25, 3)
        yield Row(
            f"{what} / grad-cam", _all_cams(case), _grad_cam(case, _PEERS), 1 / faster, 1 if size > 32 else 2
        )
    for name, size, layer in (
        ("resnet50", 224, "layer4"),
        ("resnet18", 224, "layer2"),
        ("resnet18_cifar", 32, "layer4"),
    ):
        case = subject(name, size, 1, layer)
        yield Row(f"EigenCAM's component at {layer}, {case.label} / full SVD", *_full_svd(case), 1 / 20, 5)


def forward_rows(quick: bool) -> Iterator[Row]:
    """Score-CAM, occlusion and integrated gradients against grad-cam and captum."""
    cases = [("resnet18", 32, "layer2", 0.90, 0.36, 0.76)]
    cases += [] if quick else [("resnet18", 224, "layer4", 0.72, 0.57, 0.53)]
    for name, size, layer, score, occlude, integrate in cases:
        case = subject(name, size, 1, layer)
        rounds, window = (5, 4) if size == 32 else (1, 32)
        options = {"window": window, "stride": window // 2}
        peer = _captum_occlusion(case, window, window // 2)
        yield Row(
            f"occlusion, {case.label} / captum", _ours(case, "occlusion", **options), peer, occlude, rounds
        )
        ours = _ours(case, "integrated_gradients")
        yield Row(
            f"integrated gradients, {case.label} / captum", ours, _captum_integrated(case), integrate, rounds
        )
        peer = _grad_cam(case, ["ScoreCAM"])
        yield Row(
            f"Score-CAM at {layer}, {case.label} / grad-cam",
            _ours(case, "scorecam"),
            peer,
            score,
            min(rounds, 3),
        )


def sweep_rows(quick: bool) -> Iterator[Row]:
    """A sweep's forward passes against the loop people write, and whole sweeps against their bare forward passes."""
    cases = [("alexnet", "fp32", 1.2), ("resnet18", "fp32", 1.2), ("resnet50", "fp32", 1.6)]
    cases += [("resnet18", "bf16", 2.2), ("resnet50", "bf16", 3.4)] if cpu_has_bf16() else []
    for name, precision, factor in cases:
        case = subject(name, 32, 512)
        what = f"sweep's {precision} forward, {case.label} / DataLoader, batch 64"
        yield Row(what, _sweep_forward(case, precision), _people_forward(case), 1 / factor, 3 if quick else 9)
    scenes = 64 if quick else 500
    pair = ("alexnet-cue10-s0", "resnet18-cue10-s0")
    for names in ((pair[0],), pair):
        ours, bare = _whole_sweep(names, scenes)
        yield Row(f"sweep of the paper grid, {' + '.join(names)} / bare forward", ours, bare, 1.10, 3)


def degradation_rows(quick: bool) -> Iterator[Row]:
    """Degradations of a batch against one picture after another with Pillow, NumPy and scikit-image."""
    for what, ours, peer in benchmark_degradations.pairs(quick):
        yield Row(what, ours, peer, 1 / 2, 9)


def feature_rows(quick: bool) -> Iterator[Row]:
    """All layers of one image recorded against a bare forward pass."""
    for name, size in benchmark_features.cases(quick):
        case = subject(name, size, 1)
        ours, bare = benchmark_features.works(case.model, case.images)
        yield Row(f"feature maps of all layers, {case.label} / forward", ours, bare, 1.15, 50)


def embedding_rows(quick: bool) -> Iterator[Row]:
    """What embeddings are made of against bare forward passes and the reference libraries."""
    for what, ours, peer, target, rounds in benchmark_embedding.rows(quick):
        yield Row(what, ours, peer, target, rounds)


def comparison_rows(quick: bool) -> Iterator[Row]:
    """Heatmaps of two networks, clean and degraded, against the bare passes that they need."""
    for what, ours, peer, target, rounds in benchmark_compare.rows(quick):
        yield Row(what, ours, peer, target, rounds)


def _sweep_forward(case: Subject, precision: str) -> Work:
    size = evaluation.forward_batch_size(case.images, case.images.device)
    return lambda: [evaluation.shares(case.model, part, precision) for part in case.images.split(size)]


def _people_forward(case: Subject) -> Work:
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(case.images, case.targets), batch_size=64)

    def work() -> None:
        with torch.no_grad():
            for images, _labels in loader:
                case.plain(images).softmax(dim=1).argmax(dim=1)

    return work


def _whole_sweep(names: Sequence[str], scenes: int) -> tuple[Work, Work]:
    """A sweep of the paper grid over cue10 into an empty folder, and the same forward passes on clean scenes."""
    models = {name: zoo.load(name) for name in names}
    cells = evaluation_grid.grid(
        ["cue10"], [model.card for model in models.values()], ["paper"], limit=scenes
    )
    images = load_split("cue10", "test", scenes, None).float_images()
    batches = images.split(evaluation.forward_batch_size(images, images.device))

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = evaluation.sweep(cells, Path(folder), load=lambda name, _device: models[name])
        assert len(done.computed) == len(cells)

    def bare() -> None:
        for cell in cells:
            for batch in batches:
                evaluation.shares(models[cell.model], batch, cell.precision)

    return ours, bare


def rows(quick: bool) -> Iterator[Row]:
    """All comparisons; the quick ones leave out 224 px and ResNet-50 but for one."""
    yield from gradcam_rows(quick)
    yield from family_rows(quick)
    yield from forward_rows(quick)
    yield from sweep_rows(quick)
    yield from degradation_rows(quick)
    yield from feature_rows(quick)
    yield from embedding_rows(quick)
    yield from comparison_rows(quick)


def describe(row: Row, ours: float, peer: float, ratio: float) -> str:
    """One line of the table."""
    verdict = "" if row.target is None else "met" if ratio <= row.target else "NOT met"
    target = "" if row.target is None else f"<= {row.target:.3f}"
    return f"{row.what:<78} {ours * 1e3:9.1f} {peer * 1e3:9.1f} {ratio:8.3f} {target:>9} {verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m xai.benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only 32 px, a few minutes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument(
        "--clock", choices=_CLOCKS, default="wall", help="wall time, or time on the processor"
    )
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    words = "only a PNG of visualisations, ours and torch-lucent's"
    parser.add_argument("--picture", type=Path, metavar="FILE", help=words)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    if chosen.picture:
        benchmark_visualization.draw_beside(chosen.picture)
        return 0
    print(f"{chosen.threads} threads, {chosen.clock} clock, torch {torch.__version__}")
    print(f"{'':<78} {'ours ms':>9} {'peer ms':>9} {'ratio':>8} {'target':>9}")
    for row in rows(chosen.quick) if chosen.only != benchmark_visualization.NAME else ():
        if chosen.only in row.what:
            print(describe(row, *measure(row, _CLOCKS[chosen.clock])), flush=True)
    if chosen.only in benchmark_visualization.NAME:
        for line in benchmark_visualization.table(chosen.quick, _CLOCKS[chosen.clock]):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
