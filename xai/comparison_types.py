"""What one picture is compared as: the picture, what is asked of it, how a network sees it, and what it answered."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from xai.attribution import ExplanationError, Heatmap
from xai.map_agreement import Agreement

CONDITIONS = ("clean", "degraded")


@dataclass(frozen=True)
class Picture:
    """An input picture: `pixels` uint8 `(3, H, W)`, what it is, and what is known of it.

    `source` says where it can be had again: `upload`, `sample:NAME`, `cue10:SPLIT/INDEX` or `DATASET:SPLIT/ID`.
    `mask` is bool `(H, W)` where the object is known exactly. `image_id` is a dataset's name for it, which seeds what
    is drawn for it, as it does in a sweep; without one the hash does.
    """

    name: str
    pixels: Tensor
    sha256: str
    source: str = "upload"
    label: str | None = None
    mask: Tensor | None = None
    notes: tuple[str, ...] = ()
    image_id: str = ""

    @property
    def seed_text(self) -> str:
        """What the random draws of degradations are seeded with, beside the seed that is chosen."""
        return self.image_id or self.sha256


@dataclass(frozen=True)
class Request:
    """Everything a user chooses that changes numbers. Every field is JSON-able.

    `target` is `predicted` (each model's own prediction on the clean picture, kept for the degraded one), `true`
    or a class name. `layers` maps a model's name to the layers to tap (default: the model's own).
    """

    models: tuple[str, ...]
    methods: tuple[str, ...] = ("gradcam",)
    target: str = "predicted"
    layers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    degradation: str = "none"
    severity: float = 0.0
    scale: str = ""
    resize: str = "crop"
    seed: int = 0

    def __post_init__(self) -> None:
        texts = (self.target, self.degradation, self.scale, self.resize, *self.models, *self.methods)
        texts += tuple(layer for taps in self.layers.values() for layer in taps)
        if not all(isinstance(text, str) for text in texts):
            raise ExplanationError("A request names models, methods, layers, target and degradation as text.")
        if not isinstance(self.severity, int | float) or not 0 <= self.severity < math.inf:
            raise ExplanationError(f"The severity is {self.severity!r}; allowed are numbers from 0 up.")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise ExplanationError(
                f"The seed is {self.seed!r}; allowed are whole numbers from 0 to 2**63 - 1."
            )


@dataclass(frozen=True)
class View:
    """A picture as a network of input `size` sees it: `clean` and `degraded` `(1, 3, size, size)` in [0, 1]."""

    size: int
    clean: Tensor
    degraded: Tensor
    resized: str
    degradation: str
    parameters: dict[str, float]
    scale: str
    psnr: float
    ssim: float

    def image(self, condition: str) -> Tensor:
        """The `(1, 3, size, size)` image of `clean` or `degraded`."""
        return self.clean if condition == "clean" else self.degraded


@dataclass(frozen=True)
class Answered:
    """What one network answered to a picture: whose answer it is, the class number that is looked at (`target`), and
    probabilities `(K,)` for `clean` and `degraded`."""

    model: str
    architecture: str
    dataset: str
    sha256: str
    device: str
    classes: tuple[str, ...]
    size: int
    target: int
    probabilities: dict[str, Tensor]

    def predicted(self, condition: str) -> str:
        """Name of the most probable class."""
        return self.classes[int(self.probabilities[condition].argmax())]


@dataclass(frozen=True)
class ModelResult(Answered):
    """One model's answers, with its heatmaps per method for `clean` and `degraded`."""

    heatmaps: dict[str, dict[str, Heatmap]]
    gradcam_hirescam: float | None

    def top(self, count: int = 5) -> list[tuple[str, float, float]]:
        """`(class, clean, degraded)` probabilities of the most probable classes of the clean picture."""
        clean, degraded = self.probabilities["clean"], self.probabilities["degraded"]
        best = clean.topk(min(count, len(self.classes))).indices.tolist()
        return [(self.classes[k], float(clean[k]), float(degraded[k])) for k in best]


@dataclass(frozen=True)
class Comparison:
    """All that was computed for one picture."""

    request: Request
    picture: Picture
    views: dict[int, View]
    results: tuple[ModelResult, ...]
    agreements: tuple[Agreement, ...]

    def view(self, result: ModelResult) -> View:
        """The picture as that model saw it."""
        return self.views[result.size]

    @property
    def degraded(self) -> bool:
        """Whether a degradation of more than nothing was asked for."""
        return is_degraded(self.request)


def is_degraded(request: Request) -> bool:
    """Whether the request names a degradation with a severity above 0."""
    return request.degradation != "none" and request.severity > 0
