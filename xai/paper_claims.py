"""Every number that the papers claim, as it is printed there, with what to be careful about."""

from __future__ import annotations

from dataclasses import dataclass, replace

CLEAN = "clean"


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
