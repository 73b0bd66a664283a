"""The features of one layer for every image of a dataset, with what the network answers, from one pass over it.

Features and probabilities are kept on disk in half precision (see `embedding_features_store`) and mapped into memory,
so that neither the pass nor its use holds more than a batch of them. A pass that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.datasets import ImageSource, Progress
from models.registry import Model
from xai import embedding_features_store as store
from xai import evaluation, packing, passes, responses_store
from xai.attribution_types import ExplanationError
from xai.embedding import PENULTIMATE
from xai.evaluation import Cancelled
from xai.evaluation_grid import Cell
from xai.evaluation_store import data_sha256
from xai.folding import folded
from xai.hooks import frozen, listening
from xai.layer_calls import first_tensor, split_call

__all__ = ["PENULTIMATE", "Cancelled", "Features", "extract"]

LARGEST = 65504.0
"""The largest number of half precision."""
_BROKEN, _BEYOND, _MUTE = 1, 2, 4
"""Bits of `state`: features that are no numbers, that are beyond `LARGEST`, and no probabilities."""
_ROWS = 4096


@dataclass(frozen=True)
class Features:
    """What a layer gives for N images, and what the network answers.

    `ids` and `labels` `(N,)` int64 are the dataset's. `vectors` `(N, D)` and `probabilities` `(N, K)` are float16,
    mapped into memory and read-only; the probabilities are of the network's `classes`, as are the numbers `predicted`
    `(N,)` int32, which rounding does not touch. `condition`
    says what was done to the images, `origin` what the features are, and `notes` what is to be known of them.
    """

    layer: str
    condition: str
    ids: tuple[str, ...]
    labels: np.ndarray
    vectors: np.ndarray
    probabilities: np.ndarray
    notes: tuple[str, ...]
    predicted: np.ndarray
    classes: tuple[str, ...]
    origin: str

    def __len__(self) -> int:
        return len(self.ids)

    def top(self, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
        """The classes `(N, count)` int16 of the largest probabilities and these, float32, both in order.

        The first is the predicted class; of equal probabilities the class that comes first in `classes` is first.
        Where the network has fewer classes, the class is -1 and the probability 0.
        """
        found = np.full((len(self), count), -1, np.int16), np.zeros((len(self), count), np.float32)
        for start in range(0, len(self), _ROWS):
            rows = slice(start, start + _ROWS)
            left = np.array(self.probabilities[rows], np.float32)
            each = np.arange(len(left))
            for place in range(min(count, left.shape[1])):
                best = left.argmax(1) if place else self.predicted[rows]
                found[0][rows, place], found[1][rows, place] = best, left[each, best]
                left[each, best] = -np.inf
        return found


def extract(
    model: Model,
    data: ImageSource,
    layer: str = PENULTIMATE,
    *,
    degradation: str = "none",
    severity: float = 0.0,
    scale: str = "",
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Features:
    """The features of a layer for all images of `data`, from one pass over it; `"relu#2"` is a layer's second call.

    `PENULTIMATE` is what the network's classifier reads: its last linear layer or 1x1 convolution with one output for
    each class. A vector `(N, D)` is taken as it is, of feature maps `(N, D, h, w)` the spatial mean, of several tensors
    the first. Every image is degraded by its id, as in a sweep; severity 0 is the clean image. What is on disk already
    is read. `progress` is told of images; the model's lock is held for one batch at a time. Raises `Cancelled` when
    `cancelled` says so (what is done stays on disk), and `ExplanationError` or another `ValueError` for a layer,
    degradation, severity or scale that can't be.
    """
    cell = passes.cell_of(model, data, degradation, scale, severity, seed)
    layers = classifiers(model) if layer == PENULTIMATE else (layer,)
    passes.check_pass(model, data, layers)
    place = store.place_of(model, data_sha256(data), cell, layer)
    return _Work(model, data, cell, layer, layers, place, progress, cancelled or (lambda: False)).run()


def classifiers(model: Model) -> tuple[str, ...]:
    """Linear layers and 1x1 convolutions with one output for each class, by name: the last to run is the classifier.

    Raises `ExplanationError` where there is none.
    """
    found = tuple(
        name
        for name, module in model.network.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1})
        if len(module.weight) == len(model.classes)
    )
    if not found:
        raise ExplanationError(
            f"{model.name} has no linear layer or 1x1 convolution that gives its {len(model.classes):,} classes; "
            "needed is the name of a layer."
        )
    return found


@dataclass
class _Heard:
    """What is caught while the network runs: the features, and the name and number of the layer's calls."""

    calls: int = 0
    vectors: Tensor | None = None
    origin: str = ""


@dataclass
class _Work:
    """One pass: what is asked for, and what to say of it besides."""

    model: Model
    data: ImageSource
    cell: Cell
    layer: str
    layers: tuple[str, ...]
    place: Path
    progress: Progress | None
    cancelled: Callable[[], bool]
    said: list[str] = field(default_factory=list)

    def run(self) -> Features:
        kept = store.opened(self.place)
        if kept is None or kept.missing():
            with self.alone():
                kept = self.filled()
        with kept.stream:
            arrays = kept.arrays()
        responses_store.mark_used([self.place])
        self.tell(len(self.data))
        return self.features(kept.facts, arrays)

    def tell(self, done: int, what: str = "features") -> None:
        if self.cancelled():
            raise Cancelled
        if self.progress:
            self.progress(done, len(self.data), f"{what} of {self.model.name}, {self.cell.condition}")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process or thread fills this file; does nothing where no lock can be had at all."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                while (lock := store.claim(self.place)) is None:
                    self.tell(0, "waiting for another process at the features")
                    time.sleep(evaluation.WAIT_SECONDS)
                held.enter_context(lock)
            yield

    def filled(self) -> store.Kept:
        """The file with all parts, those that were missing now computed."""
        kept = store.opened(self.place, writable=True)
        missing = kept.missing() if kept else list(range(-(-len(self.data) // store.PART)))
        for number in missing:
            part, facts = self.computed(
                slice(number * store.PART, min((number + 1) * store.PART, len(self.data)))
            )
            kept = kept or self.new(facts)
            kept.write(number, part)
        assert kept is not None  # there is at least one image, and so a part
        return kept

    def new(self, facts: store.Facts) -> store.Kept:
        """A new file; where none can be kept, one for this process alone."""
        try:
            kept = store.created(self.place, facts)
            store.trim(self.place)
        except OSError as error:
            self.said.append(f"The features could not be kept on disk: {error.strerror or error}.")
            kept = store.unnamed(facts)
        return kept

    def computed(self, rows: slice) -> tuple[store.Part, store.Facts]:
        """A part, from images that go through the network in batches, and what it is a part of."""
        batches: list[store.Part] = []
        for pixels in passes.batches(self.model, self.data, self.cell, rows, self.tell):
            heard, answers = self.asked(pixels)
            batches.append({**_halved(heard.vectors), **answers})  # type: ignore[arg-type]
            batches[-1]["state"] |= _MUTE * answers["probabilities"].isnan().any(dim=1).byte()
        part = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        width, classes = part["vectors"].shape[1], part["probabilities"].shape[1]
        return part, store.Facts(len(self.data), width, classes, heard.calls, heard.origin)

    def asked(self, pixels: Tensor) -> tuple[_Heard, store.Part]:
        """The layer's features for a batch and the network's answers."""
        quick, heard = self.layer == PENULTIMATE, _Heard()
        with self.model.lock, passes.refusals(self.model, pixels):
            answers = (_read_by_classifier if quick else _given_by_layer)(
                self.model, pixels, self.layers, heard
            )
        if not quick:
            passes.check_call(self.model, self.layer, heard.calls)
        if heard.vectors is None:
            raise ExplanationError(f"no layer of {self.model.name} that could be its classifier is run.")
        passes.check_rows(self.model, self.layer, len(heard.vectors), len(pixels))
        return heard, answers

    def features(self, facts: store.Facts, arrays: dict[str, np.ndarray]) -> Features:
        state = np.array(arrays["state"])
        notes = (*passes.call_note(self.layer, facts.calls), *_notes(state), *self.said)
        labels = self.data.labels.cpu().numpy().astype(np.int64)
        vectors, probabilities, predicted = (
            arrays[name] for name in ("vectors", "probabilities", "predicted")
        )
        return Features(
            self.layer,
            self.cell.condition,
            self.data.ids,
            labels,
            vectors,
            probabilities,
            notes,
            np.array(predicted),
            self.model.classes,
            facts.origin,
        )


def _read_by_classifier(model: Model, pixels: Tensor, names: tuple[str, ...], heard: _Heard) -> store.Part:
    """Answers as of a sweep, by the network in its quickest form; what goes into the last of the layers is heard."""

    def hear(name: str, _module: nn.Module, inputs: Any, _output: Any) -> None:
        given = first_tensor(inputs)
        if given is not None:
            heard.vectors, words = _pooled(given.to_dense() if given.is_mkldnn else given)
            heard.calls, heard.origin = 1, f"what {name} reads{words}"

    network = folded(model).network
    forms = {id(form): form for form in (network, packing.packed(network, pixels))}
    with contextlib.ExitStack() as hooks:
        for form in forms.values():
            hooks.enter_context(listening(form, names, hear))
        predicted, probabilities = evaluation.shares(model, pixels, "fp32")
    return {
        "predicted": torch.from_numpy(predicted).int(),
        "probabilities": torch.from_numpy(probabilities),
    }


def _given_by_layer(model: Model, pixels: Tensor, names: tuple[str, ...], heard: _Heard) -> store.Part:
    """Answers by the network as it is; what the layer gives is heard."""
    base, number = split_call(names[0])

    def hear(_name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        heard.calls += 1
        if heard.calls == number:
            heard.vectors, words = _pooled(passes.maps_or_vectors(names[0], output))
            heard.origin = f"what {names[0]} gives{words}"

    with frozen(model.network), torch.inference_mode(), listening(model.network, [base], hear):
        scores = model.network(pixels).float()
    probabilities = scores.softmax(dim=1).half().cpu()
    return {"predicted": scores.argmax(dim=1).int().cpu(), "probabilities": probabilities}


def _pooled(given: Tensor) -> tuple[Tensor, str]:
    """One float32 vector for each image, copied, and what was done for it: the mean over the grid or the tokens."""
    if given.ndim == 4:
        maps, place = given.flatten(2), f"{given.shape[2]}x{given.shape[3]} grid"
    elif given.ndim == 3:  # a linear layer's tokens (N, T, D)
        maps, place = given.transpose(1, 2), f"{given.shape[1]} tokens"
    else:
        return given.detach().float().flatten(1).clone(), ""
    words = f", averaged over its {place}" if maps.shape[2] > 1 else ""
    return maps.detach().float().mean(dim=2), words


def _halved(values: Tensor) -> store.Part:
    """Vectors in half precision, with those beyond its range set to its largest number, and their `state`."""
    half = values.half()
    state = torch.zeros(len(values), dtype=torch.uint8, device=values.device)
    if not bool(half.isfinite().all()):
        beyond = half.isinf() & values.isfinite()
        half = torch.where(beyond, (values.sign() * LARGEST).half(), half)
        state = _BROKEN * (~half.isfinite()).any(dim=1).byte() + _BEYOND * beyond.any(dim=1).byte()
    return {"vectors": half.cpu(), "state": state.cpu()}


def _notes(state: np.ndarray) -> Iterator[str]:
    """Sentences about images whose features or answers are not what one expects."""
    for bit, words in (
        (_BROKEN, "give features that are no numbers (NaN or infinite)"),
        (
            _BEYOND,
            f"give features beyond {LARGEST:,.0f}, the largest number of half precision, which stands for them",
        ),
        (_MUTE, "get no probabilities, as an output is no number; 0 is shown for them"),
    ):
        if count := int(((state & bit) != 0).sum()):
            yield f"{count:,} of {len(state):,} images {words}."
