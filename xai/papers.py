"""The numbers that the papers on these networks claim, each beside ours.

A claim is data. Ours is the mean over all seeds of the trained network that fits best, from its card, from its
stored test predictions, or counted from the architecture; it is empty where nothing fits or nothing was measured.
Numbers measured on different data stand side by side only with the note that says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from models.cards import Card, recipe_name, trial_limit
from xai import metrics, tables
from xai.network_table import counted, readable_predictions
from xai.predictions import Predictions, PredictionsError
from xai.results import SHIPPED as SHIPPED_RESULTS
from xai.results import Board, Condition, Results, local_folder, open_results
from xai.statistics import wilson
from xai.tables import Cell

NOT_TRAINED, NOT_MEASURED = "not trained here", "not measured here"
CLEAN = "clean"
CAPTION = "Numbers claimed in papers beside ours."
Read = Callable[[str], Predictions | None]
"""Answers of the network of that name on the test split, None where there are none."""
Degraded = Callable[[Card, Condition], float | None]
"""Accuracy of a network under a condition in [0, 1], None where it was not asked."""
PAPER_SCALE = "paper-relative"
GRID: dict[str, Condition] = {
    f"{word}, {level}": Condition(name, PAPER_SCALE, float(severity))
    for word, name in {
        "noise": "gaussian_noise",
        "blur": "gaussian_blur",
        "motion": "motion_blur",
        "JPEG": "jpeg_compression",
    }.items()
    for severity, level in enumerate(("low", "medium", "high"), start=1)
}
"""What the papers' conditions are called here."""


@dataclass(frozen=True)
class Match:
    """Which of our networks a claim is set beside: the first of each list counts most."""

    architectures: tuple[str, ...]
    recipes: tuple[str, ...] = ("standard",)
    datasets: tuple[str, ...] = ("cifar10", "cifar10-jpeg")


@dataclass(frozen=True)
class Claim:
    """One number of a paper, in the unit that its metric names; `images` is how many it may rest on, where known."""

    paper: str
    system: str
    dataset: str
    condition: str
    metric: str
    value: float
    caveat: str = ""
    ours: Match | None = None
    images: int | None = None


@dataclass(frozen=True)
class Row:
    """A claim with our number in the same unit, the networks it comes from and their data; None where there is none."""

    claim: Claim
    ours: float | None
    networks: tuple[str, ...]
    dataset: str
    state: str
    caveat: str

    @property
    def difference(self) -> float | None:
        """Ours less the claimed number."""
        return None if self.ours is None else self.ours - self.claim.value


_IMPROVED = "Improved ResNeXt50 (CIFAR-10)"
_TRANSFER = "ResNet50 by transfer learning (CIFAR-10)"
_MODIFIED = "Modified ResNet-18 (CIFAR-100)"
_QUALITY = "AlexNet against ResNet-50 on low-quality images"
_REVIEW = "ResNet50 optimisation review"
_SEVERAL = "Sizes as several of the papers give them"
_TORCHVISION = "Sizes as torchvision gives them"

_NO_RECIPE = "The paper gives no learning rate, epochs or batch size."
_LOW_AUC = "A macro one-vs-rest AUC this low is implausible at such an accuracy."
_ONE_BATCH = "This is exactly {right}/64, so probably the accuracy on one batch."
_PLOT = "The paper's plotted validation accuracy (84 %) contradicts this figure of its table."
_NO_DATASET = "The paper does not state its dataset."
_LENGTHS = "Ours has the paper's lengths scaled to the width of our images."
_ODD = ("AlexNet", "JPEG, low")
_TRAINING = "Training accuracy; ours is only known on augmented pictures and is not set beside it."


def _improved() -> list[Claim]:
    """Accuracy, AUC and F1 of seven systems."""
    resnext = ("resnext50_cifar", "resnext50")
    fused = ("resnext50_msff_cifar", "resnext50_msff")
    table = (
        ("VGG", (85.3, 89.1, 84.7), Match(("vgg16_bn",))),
        ("ResNet", (91.2, 94.3, 90.8), Match(("resnet50_cifar", "resnet50"))),
        ("ViT", (90.8, 93.7, 90.2), Match(("vit_small",))),
        ("ResNeXt50", (92.5, 95.4, 92.1), Match(resnext)),
        ("ResNeXt50 + feature fusion", (92.7, 95.6, 92.2), Match(fused)),
        ("ResNeXt50 + adaptive rate", (92.6, 95.8, 92.3), Match(resnext, ("plateau",))),
        ("Improved ResNeXt50", (94.6, 96.8, 94.3), Match(fused, ("msff", "plateau"))),
    )
    return [
        Claim(_IMPROVED, system, "CIFAR-10", CLEAN, metric, value, _improved_caveat(metric), match)
        for system, values, match in table
        for metric, value in zip(("accuracy %", "AUC %", "F1 %"), values, strict=True)
    ]


def _improved_caveat(metric: str) -> str:
    return f"{_LOW_AUC} {_NO_RECIPE}" if metric == "AUC %" else _NO_RECIPE


def _transfer() -> list[Claim]:
    table = (
        ("ResNet50", 87.5, 56, Match(("resnet50", "resnet50_cifar"))),
        ("New-ResNet50", 93.75, 60, Match(("resnet50", "resnet50_cifar"), ("transfer",))),
    )
    return [
        Claim(
            _TRANSFER,
            system,
            "CIFAR-10",
            CLEAN,
            "accuracy %",
            value,
            _ONE_BATCH.format(right=right),
            match,
            64,
        )
        for system, value, right, match in table
    ]


def _modified() -> list[Claim]:
    standard = Match(("resnet18",), ("tuned_resnet18", "standard"), ("cifar100",))
    modified = Match(("resnet18_cifar",), ("tuned_resnet18", "standard"), ("cifar100",))
    base = Claim(_MODIFIED, "Modified ResNet-18", "CIFAR-100", CLEAN, "accuracy %", 70.19, _PLOT, modified)
    classes = {"wardrobe": 94, "road": 93, "sunflower": 92, "skyscraper": 91, "motorcycle": 91}
    classes |= {"boy": 41, "otter": 42, "lizard": 47, "woman": 47, "girl": 48}
    return [
        replace(base, system="Standard ResNet-18", value=68.42, caveat="", ours=standard),
        replace(
            base,
            system="Standard ResNet-18",
            metric="training %",
            value=82.15,
            caveat=_TRAINING,
            ours=standard,
        ),
        base,
        replace(base, metric="training %", value=89.31, caveat=_TRAINING),
        *[
            replace(base, condition=name, metric="class accuracy %", value=value, caveat="", images=100)
            for name, value in classes.items()
        ],
    ]


def _quality() -> list[Claim]:
    """Clean and four degradations at three levels, AlexNet beside ResNet-50, and the size after quantisation."""
    grid = {
        CLEAN: (82.3, 92.1),
        "noise, low": (78.3, 85.6),
        "noise, medium": (62.1, 73.4),
        "noise, high": (45.7, 58.9),
        "blur, low": (81.2, 88.3),
        "blur, medium": (58.6, 72.7),
        "blur, high": (42.3, 61.5),
        "motion, low": (79.5, 86.2),
        "motion, medium": (54.8, 69.3),
        "motion, high": (38.9, 57.1),
        "JPEG, low": (84.1, 90.2),
        "JPEG, medium": (72.5, 83.7),
        "JPEG, high": (58.3, 74.6),
    }
    alexnet, resnet = Match(("alexnet",)), Match(("resnet50_cifar", "resnet50"))
    claims = [
        Claim(
            _QUALITY,
            system,
            "not stated",
            condition,
            "accuracy %",
            values[place],
            _quality_caveat(system, condition),
            match,
        )
        for place, (system, match) in enumerate((("AlexNet", alexnet), ("ResNet-50", resnet)))
        for condition, values in grid.items()
    ]
    size = "Ours is the stored int8 file against the same weights in float32."
    return [
        *claims,
        Claim(_QUALITY, "ResNet-50, quantised", "not stated", CLEAN, "size change %", -73, size, resnet),
    ]


def _quality_caveat(system: str, condition: str) -> str:
    odd = " It is claimed to be better here than on clean pictures." if (system, condition) == _ODD else ""
    lengths = f" {_LENGTHS}" if condition.startswith(("blur", "motion")) else ""
    return _NO_DATASET + odd + lengths


def _sizes() -> list[Claim]:
    """Parameters and multiply-adds at 1000 classes and 224 px, counted here from the architecture."""
    both = "Counts every multiply and every add, so it is about twice the multiply-accumulates"
    table = (
        (_REVIEW, "HFF-SEnet", "hff_senet", "parameters M", 86.1, ""),
        (_REVIEW, "M-MFFnet", "mmff_resnet50", "parameters M", 27.0, ""),
        (_SEVERAL, "ResNet-50", "resnet50", "GMAC", 7.6, f"{both}, of an older variant."),
        (_SEVERAL, "AlexNet", "alexnet_224", "GMAC", 1.43, f"{both}."),
        (_TORCHVISION, "ResNet-50", "resnet50", "parameters M", 25.56, ""),
        (_TORCHVISION, "ResNet-50", "resnet50", "GMAC", 4.09, ""),
        (_TORCHVISION, "AlexNet", "alexnet_224", "parameters M", 61.10, ""),
        (_TORCHVISION, "AlexNet", "alexnet_224", "GMAC", 0.71, ""),
    )
    condition, ensemble = "1000 classes, 224 px", "The number is that of an ensemble of seven networks."
    counts = [
        Claim(paper, system, "ImageNet", condition, metric, value, caveat, Match((name,)))
        for paper, system, name, metric, value, caveat in table
    ]
    return [*counts, Claim(_SEVERAL, "AlexNet", "ImageNet", CLEAN, "top-5 error %", 15.3, ensemble)]


CLAIMS: tuple[Claim, ...] = (*_improved(), *_transfer(), *_modified(), *_quality(), *_sizes())


def rows(
    records: Mapping[str, Card], read: Read | None = None, degraded: Degraded | None = None
) -> list[Row]:
    """Every claim beside the number of ours that fits it best.

    `read` gives stored answers to clean images (default: the project's), `degraded` accuracies under a condition
    (default: those of the sweeps on this machine).
    """
    read_once = cache(read or (lambda name: readable_predictions(records[name])))
    asked = degraded or accuracies(open_results([local_folder(), SHIPPED_RESULTS], records))
    return [_row(claim, list(records.values()), read_once, asked) for claim in CLAIMS]


def accuracies(found: Results) -> Degraded:
    """Accuracies on all test images of a network's own dataset, in full precision with seed 0, from stored sweeps."""
    boards = [board for board in found.boards.values() if _counts(board)]

    def degraded(card: Card, condition: Condition) -> float | None:
        for board in boards:
            if board.setting.dataset == card.dataset and board.has(card.name, condition):
                return _readable_accuracy(board, card.name, condition)
        return None

    return degraded


def _counts(board: Board) -> bool:
    setting = board.setting
    return (setting.split, setting.limit, setting.precision, setting.seed) == ("test", 0, "fp32", 0)


def _readable_accuracy(board: Board, model: str, condition: Condition) -> float | None:
    """None also for a file that can't be used."""
    try:
        answers = board.answers(model, condition)
    except PredictionsError:
        return None
    return None if answers is None else answers.accuracy


def _row(claim: Claim, cards: Sequence[Card], read: Read, degraded: Degraded) -> Row:
    if claim.metric in COUNTS and claim.ours is not None:
        name = claim.ours.architectures[0]
        return Row(
            claim, COUNTS[claim.metric](*counted(name, 1000, 224)), (name,), "", "counted", claim.caveat
        )
    found = [] if claim.ours is None else best_match(claim.ours, cards)
    if not found:
        state = NOT_MEASURED if claim.ours is None else NOT_TRAINED
        return Row(claim, None, (), "", state, _sentences(claim.caveat, _interval(claim)))
    values = [_measured(claim, card, read, degraded) for card in found]
    ours = statistics.fmean(known) if (known := [v for v in values if v is not None]) == values else None
    caveat = _sentences(claim.caveat, _interval(claim), _other_data(claim, found[0]), _options(found[0]))
    state = NOT_MEASURED if ours is None else _trained(found)
    return Row(claim, ours, tuple(card.name for card in found), found[0].dataset, state, caveat)


def _measured(claim: Claim, card: Card, read: Read, degraded: Degraded) -> float | None:
    """Ours for one network, in the unit of the claim's metric."""
    if claim.metric == "accuracy %" and claim.condition in GRID:
        share = degraded(card, GRID[claim.condition])
        return None if share is None else 100 * share
    return MEASURES.get(claim.metric, _unknown)(claim, card, read)


def best_match(match: Match, cards: Sequence[Card]) -> list[Card]:
    """All seeds of the training that fits best, an empty list where none does; trials don't count.

    Data count more than the recipe, the recipe more than the architecture; a narrower network comes last.
    """
    fitting = [card for card in cards if _fits(match, card) and trial_limit(card) is None]
    if not fitting:
        return []
    best = min(fitting, key=lambda card: _distance(match, card))
    same = (best.architecture, best.dataset, best.options, best.epochs, recipe_name(best))
    return [c for c in fitting if (c.architecture, c.dataset, c.options, c.epochs, recipe_name(c)) == same]


def _fits(match: Match, card: Card) -> bool:
    return (
        card.architecture in match.architectures
        and card.dataset in match.datasets
        and recipe_name(card) in match.recipes
    )


def _distance(match: Match, card: Card) -> tuple[bool, int, int, int, int]:
    places = (
        match.datasets.index(card.dataset),
        match.recipes.index(recipe_name(card)),
        match.architectures.index(card.architecture),
    )
    return ("width" in card.options, *places, -card.epochs)


def _trained(cards: Sequence[Card]) -> str:
    return "one seed" if len(cards) == 1 else f"mean of {len(cards)} seeds"


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _interval(claim: Claim) -> str:
    """What a claim on so few images may mean."""
    if claim.images is None:
        return ""
    low, high = wilson(round(claim.value / 100 * claim.images), claim.images)
    return f"On {claim.images} images the 95 % interval is {100 * low:.1f} to {100 * high:.1f}."


def _other_data(claim: Claim, card: Card) -> str:
    if card.dataset == "cifar10-jpeg" and claim.metric != "size change %":
        return "Ours is on CIFAR-10 stored as JPEG: not comparable with numbers on the lossless files."
    return ""


def _options(card: Card) -> str:
    words = ", ".join(f"{key} {value}" for key, value in card.options.items())
    return f"Ours was built with {words}." if words else ""


def _unknown(_claim: Claim, _card: Card, _read: Read) -> None:
    return None


def _accuracy(claim: Claim, card: Card, _read: Read) -> float | None:
    share = card.accuracy.get("test") if claim.condition == CLEAN else None
    return None if share is None else 100 * share


def _auc(_claim: Claim, card: Card, read: Read) -> float | None:
    found = read(card.name)
    area = None if found is None else metrics.macro_auc(found)
    return None if area is None else 100 * area


def _f1(_claim: Claim, card: Card, read: Read) -> float | None:
    found = read(card.name)
    return None if found is None else 100 * metrics.macro_scores(found).f1


def _class_accuracy(claim: Claim, card: Card, read: Read) -> float | None:
    found = read(card.name)
    rows = [] if found is None else metrics.class_accuracies(found, card.classes)
    return next((100 * row.share for row in rows if row.name == claim.condition), None)


def _size_change(_claim: Claim, card: Card, _read: Read) -> float | None:
    if card.storage != "int8" or not card.parameters:
        return None
    return 100 * (card.megabytes * 1e6 / (4 * card.parameters) - 1)


Measure = Callable[[Claim, Card, Read], float | None]
MEASURES: dict[str, Measure] = {
    "accuracy %": _accuracy,
    "AUC %": _auc,
    "F1 %": _f1,
    "class accuracy %": _class_accuracy,
    "size change %": _size_change,
}
"""How ours is measured for one network; metrics that stand neither here nor in `COUNTS` are not measured."""
COUNTS: dict[str, Callable[[int, int], float]] = {
    "parameters M": lambda parameters, _macs: parameters / 1e6,
    "GMAC": lambda _parameters, macs: macs / 1e9,
}
"""What is counted from the architecture, of its parameters and multiply-accumulates."""


def table(found: Sequence[Row]) -> list[dict[str, Cell]]:
    """The rows with a heading for every column, numbers in the unit of the metric."""
    return [
        {
            "paper": row.claim.paper,
            "system": row.claim.system,
            "condition": row.claim.condition,
            "metric": row.claim.metric,
            "claimed": float(row.claim.value),
            "ours": _rounded(row.ours),
            "difference": _rounded(row.difference),
            "our network": _network(row),
            "claimed on": row.claim.dataset,
            "ours on": row.dataset,
            "caveat": row.caveat,
        }
        for row in found
    ]


def _rounded(value: float | None) -> float | None:
    """Two decimals, and no minus sign before a zero."""
    return None if value is None else round(value, 2) + 0.0


def _network(row: Row) -> str:
    """Which network ours is, or why there is none."""
    if not row.networks:
        return row.state
    name = row.networks[0] if len(row.networks) == 1 else row.networks[0].rsplit("-s", 1)[0]
    return f"{name} ({row.state})"


def as_latex(found: Sequence[Row]) -> str:
    """The table for a paper of one's own (packages `longtable`, `booktabs` and `array`)."""
    return tables.as_latex(table(found), CAPTION, wide=("caveat",))


def as_text(found: Sequence[Row]) -> list[str]:
    """The table as aligned text, with the caveats below it by number."""
    caveats = list(dict.fromkeys(row.caveat for row in found if row.caveat))
    cells = table(found)
    for entry in cells:
        caveat = entry.pop("caveat")
        entry["note"] = caveats.index(str(caveat)) + 1 if caveat else None
    return [*tables.as_text(cells), "", *(f"{place}  {caveat}" for place, caveat in enumerate(caveats, 1))]
