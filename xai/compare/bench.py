"""The networks and images of a study at hand, with what several sections need computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from data.datasets import ImageSource, Progress, evenly_spread, open_dataset
from models import zoo
from models.cards import Card, training_key
from models.registry import Model
from xai import network_table, passes
from xai.attribution import ExplanationError, usable_layers
from xai.compare import maps as heatmaps
from xai.compare import maps_store
from xai.compare.maps import Maps
from xai.compare.shown import Shown
from xai.compare.study import LETTERS, Facts, Network, Study, with_scale
from xai.evaluation import Cancelled
from xai.evaluation_store import data_sha256
from xai.results import UNTOUCHED, Condition

METHODS = ("gradcam", "hirescam")
"""What is computed with every map: their agreement says whether Grad-CAM means anything here."""


@dataclass
class Bench:
    """A study at work. `load` gives networks, `cards` says which there are, `progress` is told of images.

    Everything is computed once; `cancelled` is asked between batches, and `Cancelled` raised where it says so.
    """

    study: Study
    load: Callable[[str], Model] = zoo.load
    cards: Callable[[], dict[str, Card]] = zoo.cards
    progress: Progress | None = None
    cancelled: Callable[[], bool] = lambda: False
    opened: Callable[[str, str, Progress | None], ImageSource] = open_dataset
    keep_maps: bool = True
    """Whether maps are kept on disk too, for the next bench of such a study."""
    _maps: dict[Any, Maps] = field(default_factory=dict, repr=False)
    _shown: Shown = field(default_factory=Shown, repr=False)
    _models: dict[str, Model] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.study = with_scale(self.study, self.size)
        for model in self.models:
            self._check(model)

    def tell(self, done: int, total: int, what: str) -> None:
        """Report progress; raises `Cancelled` when the caller wants the work to end."""
        if self.cancelled():
            raise Cancelled
        if self.progress:
            self.progress(done, total, what)

    @cached_property
    def data(self) -> ImageSource:
        """The images that both networks are asked about."""
        return self.split(self.study.split, self.study.limit)

    @cached_property
    def masks(self) -> np.ndarray | None:
        """Where the object of each image is, bool `(n, size, size)`; None where that is not known of all."""
        found: Tensor | None = getattr(self.data, "masks", None)  # of a stream they are read anew each time
        return None if found is None else found.numpy()

    @cached_property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.data.pixels(slice(0, 1)).shape[-1])

    def split(self, name: str, limit: int | None = None) -> ImageSource:
        """Another split of the same dataset, `limit` images of it; raises `DatasetError`."""
        return evenly_spread(self.opened(self.study.dataset, name, self.tell), limit)

    def model(self, name: str) -> Model:
        """A network, loaded once; raises `ValueError` naming those that exist."""
        if name not in self._models:
            self._models[name] = self.load(name)
        return self._models[name]

    @cached_property
    def models(self) -> tuple[Model, Model]:
        """A and B."""
        a, b = self.study.models
        return self.model(a), self.model(b)

    def _check(self, model: Model) -> None:
        if not set(model.classes) & set(self.data.classes):
            raise ExplanationError(f"{model.name} knows none of the classes of {self.study.dataset}.")
        if model.input_size != self.size:
            raise ExplanationError(
                f"{model.name} takes images of {model.input_size} px; {self.study.dataset} has {self.size} px."
            )

    @cached_property
    def facts(self) -> Facts:
        """All that rows don't say themselves."""
        a, b = (self._network(place) for place in range(2))
        return Facts(
            self.study,
            (a, b) if a.title != b.title else (_lettered(a, 0), _lettered(b, 1)),
            self.data.classes,
            len(self.data),
            self.size,
            data_sha256(self.data),
            self.masks is not None,
            tuple(self.data.notes),
        )

    def layer(self, model: Model) -> str:
        """What is tapped in a network: what the study says for one of its training, else the network's own."""
        for letter, named in zip(self.study.models, self.study.layers, strict=True):
            if named and letter in (model.name, *self._peer_names(model)):
                return named
        return model.default_layer

    def _network(self, place: int) -> Network:
        model = self.models[place]
        layer = self.layer(model)
        grids = usable_layers(model, self.size)
        if layer not in grids:
            offered = ", ".join(f"{name} ({h} x {w})" for name, (h, w) in list(grids.items())[:8])
            raise ExplanationError(
                f"{model.name} has no layer {layer!r} to look at here; there are {offered}."
            )
        card = model.card
        return Network(
            model.name,
            network_table.network(card).title,
            card.architecture,
            card.dataset,
            card.seed,
            card.sha256,
            model.head,
            layer,
            grids[layer],
            card.parameters,
            self._peer_names(model),
        )

    def _peer_names(self, model: Model) -> tuple[str, ...]:
        cards = self.cards()
        own = cards.get(model.name, model.card)
        alike = [card for card in cards.values() if card.sha256 and training_key(card) == training_key(own)]
        by_seed = {card.seed: card.name for card in reversed(alike) if card.seed != own.seed}
        return tuple(by_seed[seed] for seed in sorted(by_seed))

    def peers(self, place: int) -> list[Model]:
        """Networks of the same training as A (0) or B (1) with other seeds, by seed, without A and B themselves."""
        names = self.facts.networks[place].peers
        return [self.model(name) for name in names if name not in self.study.models]

    def maps(
        self,
        model: Model,
        condition: Condition = UNTOUCHED,
        *,
        methods: Sequence[str] | None = None,
        targets: np.ndarray | None = None,
    ) -> Maps:
        """Answers and maps to the study's images; under a degradation for the classes predicted on the clean images
        unless `targets` says otherwise. Kept while the study is at work, and on disk.

        There are always maps of the study's method and of `METHODS`, beside those of the `methods` asked for. A's and
        B's are made together, so that images are degraded once for both.
        """
        wanted = tuple(dict.fromkeys((self.study.method, *METHODS, *(methods or ()))))
        together = self.models if targets is None and model.name in self.study.models else (model,)
        for each in together:
            key = self._key(each, condition, wanted, targets)
            if key not in self._maps:
                self._maps[key] = self._made(each, condition, wanted, targets)
        return self._maps[self._key(model, condition, wanted, targets)]

    def _key(
        self, model: Model, condition: Condition, methods: tuple[str, ...], targets: np.ndarray | None
    ) -> tuple[Any, ...]:
        return model.name, condition, methods, None if targets is None else targets.tobytes()

    def _made(
        self, model: Model, condition: Condition, methods: tuple[str, ...], targets: np.ndarray | None
    ) -> Maps:
        if targets is None and condition != UNTOUCHED:
            targets = self.maps(model).targets
        settings: dict[str, Any] = {
            "layer": self.layer(model),
            "methods": methods,
            "targets": targets,
            "seed": self.study.seed,
            "progress": self.tell,
            "cancelled": self.cancelled,
            "shown": self._shown,
        }
        if not self.keep_maps:
            return heatmaps.compute(model, self.data, condition, **settings)
        return maps_store.stored(model, self.data, condition, self.facts.data_sha256, **settings)

    def images(self, model: Model, data: ImageSource, condition: Condition, rows: slice) -> Tensor:
        """Images of `data` as that condition makes them, float32 `(n, 3, H, W)` in [0, 1] on the network's device."""
        cell = passes.cell_of(
            model, data, condition.degradation, condition.scale, condition.severity, self.study.seed
        )
        return passes.degraded_batch(data, cell, rows, model.device)


def _lettered(network: Network, place: int) -> Network:
    return replace(network, title=f"{LETTERS[place]}: {network.name}")
