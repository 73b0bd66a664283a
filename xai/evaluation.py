"""Runs the cells of a sweep and stores what every network answered; goes on where it was stopped.

Cells whose networks see the same images are computed together: each batch is degraded once and goes through every
network that needs it. One process at a time works on such a group, and another passes on to the next, so that any
number of them may share a folder. A cell is stored when all its images are done, and never when something failed.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.datasets import DatasetError, ImageSource, Progress, evenly_spread, open_dataset
from data.degradations import degrade
from data.remedies import remedy
from models import zoo
from models.precision import check as check_precision
from models.registry import Model
from xai import batching, packing
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import data_sha256, facts_of, is_stored, save
from xai.folding import folded
from xai.predictions import Predictions
from xai.zoo_state import take_lock

LOCKS = ".locks"
WAIT_SECONDS = 0.5
"""How long to wait before a group that another process works on is looked at again."""

Report = Callable[[float, int, str], None]
"""Called as `report(done, total, what)` in numbers of cells; those being computed count by their share."""
_REASON_LENGTH = 300


class SweepError(ValueError):
    """A network that can't answer for a cell, with the reason in one sentence."""


class Cancelled(Exception):
    """The caller wants the sweep to end; no failure of a cell."""


@dataclass
class Summary:
    """What became of the cells of a sweep; one in none of the three was left when the sweep was cancelled."""

    computed: list[Cell] = field(default_factory=list)
    skipped: list[Cell] = field(default_factory=list)
    failed: dict[Cell, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cancelled: bool = False


@dataclass(frozen=True)
class Images:
    """The clean images of a group, and the hash by which stored results know them."""

    data: ImageSource
    sha256: str


@dataclass
class Work:
    """A sweep at work: where to, how, and what became of its cells so far."""

    folder: Path
    device: torch.device
    batch_size: int | None
    compact: bool
    report: Report | None
    cancelled: Callable[[], bool]
    load: Callable[[str, torch.device], Model]
    engine: Engine | None = None
    total: int = 0
    summary: Summary = field(default_factory=Summary)
    models: dict[str, Model] = field(default_factory=dict)

    def tell(self, share: float, what: str) -> None:
        """Report how far the sweep is, `share` in cells of the group at work; raises `Cancelled` if it is to end."""
        done = len(self.summary.computed) + len(self.summary.failed)
        if self.report:
            self.report(min(done + share, self.total), self.total, what)
        if self.cancelled():
            raise Cancelled

    def fail(self, cell: Cell, error: Exception) -> None:
        """Note that a cell can't be had, and why."""
        self.summary.failed[cell] = _reason(error)

    def is_done(self, cell: Cell, images: Images) -> bool:
        """Whether the cell is stored already, of these very images and in full where that is asked for."""
        return is_stored(self.folder, cell, images.sha256, self.compact)

    def model(self, cell: Cell, data: ImageSource) -> Model:
        """The cell's network, loaded once.

        Raises `SweepError` when its weights are others than the cell's, or it does not know the images' classes.
        """
        if cell.model not in self.models:
            self.models[cell.model] = self.load(cell.model, self.device)
        model = self.models[cell.model]
        if model.card.sha256 != cell.model_sha256:
            raise SweepError(f"the weights of {cell.model} are others than when the sweep was planned.")
        if unknown := [name for name in data.classes if name not in model.classes]:
            raise SweepError(
                f"{cell.model} does not know {len(unknown):,} classes of {data.name}, such as {unknown[0]!r}."
            )
        return model


def sweep(
    cells: Iterable[Cell],
    folder: Path,
    *,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
    compact: bool = False,
    progress: Report | None = None,
    loading: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    load: Callable[[str, torch.device], Model] = zoo.load,
    engine: Engine | None = None,
) -> Summary:
    """Compute and store every cell that `folder` doesn't have yet; the results are the same in any order or company.

    `batch_size` None is what was quickest for images of that size. `compact` stores confidence and the probability
    of the right class in place of all probabilities. `cancelled` is asked before every batch of every network: the
    cells that are being computed then are lost, those stored stay. `loading` is told of datasets being read. A cell
    that fails, for whatever reason, is noted with it, and the sweep goes on. `engine` is where the networks are asked,
    None for here, one group of cells after another. Raises `ValueError` when this machine can't compute as asked.
    """
    cells = tuple(cells)
    for name in {cell.precision for cell in cells}:
        check_precision(name, device)
    state = Work(folder, torch.device(device), batch_size, compact, progress, cancelled, load, engine)
    with contextlib.suppress(Cancelled):
        for group in _grouped(cells, lambda cell: (cell.dataset, cell.split, cell.limit)):
            _sweep_dataset(state, group, loading)
        state.tell(0, "")
        return state.summary
    state.summary.cancelled = True
    return state.summary


def _grouped(cells: Iterable[Cell], key: Callable[[Cell], Hashable]) -> list[list[Cell]]:
    """The cells of equal key together, in the order in which they come first; each cell once."""
    groups: defaultdict[Hashable, list[Cell]] = defaultdict(list)
    for cell in dict.fromkeys(cells):
        groups[key(cell)].append(cell)
    return list(groups.values())


def _sweep_dataset(state: Work, cells: Sequence[Cell], loading: Progress | None) -> None:
    """Do all cells on the same images."""
    first = cells[0]

    def told(done: int, total: int, what: str) -> None:
        if state.cancelled():
            raise Cancelled
        if loading:
            loading(done, total, what)

    try:
        data = evenly_spread(open_dataset(first.dataset, first.split, told), first.limit or None)
    except (DatasetError, OSError) as error:
        for cell in cells:
            state.fail(cell, error)
        return
    state.summary.notes += data.notes
    images = Images(data, data_sha256(data))
    missing = [cell for cell in cells if not state.is_done(cell, images)]
    state.summary.skipped += [cell for cell in cells if cell not in set(missing)]
    state.total += len(missing)
    groups = _grouped(missing, lambda cell: cell.pixels)
    while groups:
        busy = (state.engine or one_by_one)(state, groups, images)
        if len(busy) == len(groups):
            time.sleep(WAIT_SECONDS)
        groups = busy


def one_by_one(state: Work, groups: Sequence[list[Cell]], images: Images) -> list[list[Cell]]:
    """Do the groups, each of cells that see the same images; returns those that other processes are at."""
    return [group for group in groups if not _try_group(state, group, images)]


def _try_group(state: Work, cells: Sequence[Cell], images: Images) -> bool:
    """Do the cells that see the same images; False when another process is at them."""
    state.tell(0, cells[0].condition)
    with claim(state, cells, images) as missing:
        if missing:
            for cell, shares in ask(state, missing, images.data).items():
                store(state, cell, images, shares)
    return missing is not None


@contextlib.contextmanager
def claim(state: Work, cells: Sequence[Cell], images: Images) -> Iterator[list[Cell] | None]:
    """Keep other processes from a group; gives its cells that are not stored yet, None while another is at it."""
    lock = take_lock(state.folder / LOCKS / cells[0].pixels.key)
    if lock is None:
        yield None
        return
    with lock:
        done = [cell for cell in cells if state.is_done(cell, images)]  # by another process meanwhile
        state.summary.skipped += done
        state.total -= len(done)
        yield [cell for cell in cells if cell not in done]


Shares = tuple[np.ndarray, np.ndarray]
"""Predicted classes `(N,)` and probabilities `(N, K)` in half precision."""
Engine = Callable[[Work, Sequence[list[Cell]], Images], list[list[Cell]]]
"""Does groups of cells as `one_by_one` does."""


def ask(state: Work, cells: Sequence[Cell], data: ImageSource) -> dict[Cell, Shares]:
    """What every network says; those that fail are noted and left out."""
    parts: dict[Cell, list[Shares]] = {cell: [] for cell in cells}
    size = state.batch_size or forward_batch_size(data.pixels(slice(0)), state.device)
    for start in range(0, len(data), size):
        if not parts:
            break
        try:
            pixels = degraded_batch(data, cells[0], slice(start, start + size), state.device)
        except Exception as error:  # whatever it is, the other groups can still be computed
            for cell in parts:
                state.fail(cell, error)
            return {}
        for number, cell in enumerate(list(parts)):
            state.tell((start * len(parts) + number * len(pixels)) / len(data), cell.condition)
            try:
                parts[cell].append(shares(state.model(cell, data), pixels, cell.precision))
            except Exception as error:  # a network may be anybody's and raise anything
                state.fail(cell, error)
                del parts[cell]
    return {cell: _joined(batches) for cell, batches in parts.items()}


def _joined(batches: Sequence[Shares]) -> Shares:
    predicted, probabilities = zip(*batches, strict=True)
    return np.concatenate(predicted), np.concatenate(probabilities)


def forward_batch_size(images: Tensor, device: torch.device) -> int:
    """Images at a time where nothing is differentiated.

    Twice as many as for explanations: at 32 px, batch norm folded, AlexNet and both ResNet-18s were 7 to 10 %
    quicker in 128s than in 64s on a CPU, and no quicker in 250s.
    """
    return 2 * batching.batch_size(images[:0].to(device))


def degraded_batch(data: ImageSource, cell: Cell, rows: slice, device: torch.device) -> Tensor:
    """The images that the cell's network sees, float32 `(n, 3, H, W)` in [0, 1]: a function of cell and image alone."""
    images = data.pixels(rows).to(device).float() / 255
    ids, known = data.ids[rows], {"severity": cell.severity, "scale": cell.scale, "seed": cell.seed}
    if cell.degradation != CLEAN:
        images = degrade(images, cell.degradation, image_ids=ids, **known)  # type: ignore[arg-type]
    if cell.remedy:
        images = remedy(images, cell.remedy, degradation=cell.degradation, image_ids=ids, **known)  # type: ignore
    return images


@torch.inference_mode()
def shares(model: Model, pixels: Tensor, precision: str) -> Shares:
    """Predicted class and probabilities of images in [0, 1], by the network with its batch norms folded.

    `fp32` computes in full precision, on a GPU without TF32; `bf16` lets convolutions and matrices be in bfloat16.
    """
    reduced = torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == "bf16")
    on_gpu = pixels.device.type == "cuda"
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if on_gpu else contextlib.nullcontext()
    with model.lock, exact, reduced:
        network = folded(model).network
        if precision == "fp32":
            scores = packing.logits(network, pixels).float()
        else:
            scores = network(pixels.contiguous(memory_format=torch.channels_last)).float()
    probabilities = scores.softmax(dim=1).cpu().numpy().astype(np.float16)
    return scores.argmax(dim=1).cpu().numpy(), probabilities


def store(state: Work, cell: Cell, images: Images, answers: Shares) -> None:
    """Store what a network answered, or note why that can't be."""
    try:
        data, model = images.data, state.model(cell, images.data)
        numbers = torch.tensor([model.classes.index(name) for name in data.classes])  # the network's own
        rows = Predictions(data.ids, numbers[data.labels.cpu()].numpy(), *answers)
        facts = facts_of(cell, data, model.classes, images.sha256)
        save(state.folder, cell, rows.compact() if state.compact else rows, facts)
        state.summary.computed.append(cell)
    except (ValueError, OSError) as error:
        state.fail(cell, error)


def _reason(error: Exception) -> str:
    """An error in one line; those that are no sentence of this program with their kind."""
    text = " ".join(str(error).split())[:_REASON_LENGTH]
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"
