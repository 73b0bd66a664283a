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
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from models import zoo
from models.precision import cpu_has_bf16
from xai import (
    benchmark_compare,
    benchmark_degradations,
    benchmark_embedding,
    benchmark_features,
    benchmark_visualization,
    evaluation,
    evaluation_grid,
)
from xai.benchmark_heatmaps import family_rows, forward_rows, gradcam_rows
from xai.benchmark_rows import Row, Subject, Work, subject
from xai.training_request import load_split

_CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


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
