"""The table of ablations: every improvement that the papers claim, as one change of architecture or recipe."""

from __future__ import annotations

from dataclasses import dataclass

STEM = "_cifar"
"""How the names of architectures with a 3x3 first convolution end."""
RECIPE_MAY_DIFFER = ("epochs", "batch_size")
"""What an ablation may let differ, because it is part of what is tried out."""


@dataclass(frozen=True)
class Training:
    """An architecture and the name of its recipe: one side of an ablation."""

    architecture: str
    recipe: str = "standard"

    def __str__(self) -> str:
        return self.architecture if self.recipe == "standard" else f"{self.architecture} ({self.recipe})"


@dataclass(frozen=True)
class Ablation:
    """One claimed improvement: `variant` is `baseline` with the change.

    `paper_difference` is the claim in percentage points of accuracy, None where the source gives no number.
    `may_differ` are fields of the protocol that belong to the change.
    """

    name: str
    claim: str
    baseline: Training
    variant: Training
    paper_difference: float | None
    source: str
    may_differ: tuple[str, ...] = ()


ABLATIONS: dict[str, Ablation] = {}


def register(ablation: Ablation) -> Ablation:
    """Add an ablation; raises `ValueError` when the name is taken."""
    if ablation.name in ABLATIONS:
        raise ValueError(f"the ablation {ablation.name!r} is registered twice.")
    ABLATIONS[ablation.name] = ablation
    return ablation


def _add(
    name: str,
    claim: str,
    baseline: str,
    variant: str,
    paper_difference: float | None,
    source: str,
    may_differ: tuple[str, ...] = (),
) -> None:
    """Add one row of the table below; a side is `ARCHITECTURE` or `ARCHITECTURE RECIPE`."""
    ours, theirs = Training(*baseline.split()), Training(*variant.split())
    register(Ablation(name, claim, ours, theirs, paper_difference, source, may_differ))


_RESNEXT = "improved ResNeXt50 on CIFAR-10"
_REVIEW = "ResNet50 optimisation review (gives no number)"
_DEGRADED = "AlexNet against ResNet-50 on low-quality images (gives no number)"
_R50 = "resnet50_cifar"

_add(
    "stem_18",
    "3x3 first convolution, no max-pool",
    "resnet18",
    "resnet18_cifar",
    1.77,
    "modified ResNet-18 on CIFAR-100, 68.42 to 70.19",
)
_add(
    "stem_18_tuned",
    "3x3 first convolution, no max-pool, with the paper's own recipe",
    "resnet18 tuned_resnet18",
    "resnet18_cifar tuned_resnet18",
    1.77,
    "modified ResNet-18 on CIFAR-100, 68.42 to 70.19",
)
_add("stem_50", "3x3 first convolution, no max-pool", "resnet50", _R50, None, "the same change on ResNet-50")
_add("groups", "grouped convolutions (ResNeXt)", _R50, "resnext50_cifar", 1.3, f"{_RESNEXT}, 91.2 to 92.5")
_add(
    "fusion",
    "multi-scale feature fusion (ours with its dropout of 0.3)",
    "resnext50_cifar",
    "resnext50_msff_cifar",
    0.2,
    f"{_RESNEXT}, 92.5 to 92.7",
)
_add(
    "adaptive_rate",
    "adaptive learning rate",
    "resnext50_cifar",
    "resnext50_cifar plateau",
    0.1,
    f"{_RESNEXT}, 92.5 to 92.6",
)
_add(
    "improved",
    "multi-scale feature fusion (ours with its dropout of 0.3) and adaptive learning rate",
    "resnext50_cifar",
    "resnext50_msff_cifar plateau",
    2.1,
    f"{_RESNEXT}, 92.5 to 94.6",
)
_add(
    "adaptive_rate_50",
    "adaptive learning rate",
    _R50,
    f"{_R50} plateau",
    None,
    "the same change on ResNet-50",
)
_add(
    "transfer",
    "ImageNet weights to start from, with the paper's own recipe",
    "resnet50",
    "resnet50 transfer",
    6.25,
    "ResNet50 by transfer learning on CIFAR-10, 87.50 to 93.75",
    RECIPE_MAY_DIFFER,
)
_add(
    "smoothing_50",
    "label smoothing",
    f"{_R50} no_smoothing",
    _R50,
    None,
    "ResNet50 by transfer learning on CIFAR-10 (part of its recipe)",
)
_add(
    "smoothing_resnext",
    "label smoothing",
    "resnext50_cifar no_smoothing",
    "resnext50_cifar",
    None,
    "the same change on ResNeXt-50",
)
_add("se", "squeeze-and-excitation", _R50, "se_resnet50_cifar", None, _REVIEW)
_add("cbam", "convolutional block attention", _R50, "cbam_resnet50_cifar", None, "Woo et al. 2018")
_add("fpn", "feature pyramid", _R50, "fpn_resnet50_cifar", None, _REVIEW)
_add("swish", "Swish for ReLU", _R50, "swish_resnet50_cifar", None, _REVIEW)
_add("dropout", "dropout", _R50, "dropout_resnet50_cifar", None, _REVIEW)
_add("wide", "twice the width inside the blocks", _R50, "wide_resnet50_cifar", None, _REVIEW)
_add("deep", "101 layers for 50", _R50, "resnet101_cifar", None, _REVIEW)
_add("hff", "HFF-SEnet's gates after each stage", _R50, "hff_senet_cifar", None, _REVIEW)
_add("mmff", "M-MFFnet's second input", _R50, "mmff_resnet50_cifar", None, _REVIEW)
_add("distilled_18", "distillation", "resnet18_cifar", "resnet18_cifar distillation", None, _REVIEW)
_add("distilled_50", "distillation", _R50, f"{_R50} distillation", None, _REVIEW)
_add("alexnet_bn", "batch norm", "alexnet", "alexnet_bn", None, "what is normal today: 77-82 to 85")
_add("alexnet_lrn", "local response norm", "alexnet", "alexnet_lrn", None, "Krizhevsky et al. 2012")
_add("alexnet_cbam", "convolutional block attention", "alexnet", "alexnet_cbam", None, _DEGRADED)
_add("alexnet_tmaxavg", "T-Max-Avg pooling", "alexnet", "alexnet_tmaxavg", None, _DEGRADED)
_add("alexnet_noise", "noise injection (sigma 0.01)", "alexnet", "alexnet noise_injection", None, _DEGRADED)
for _name in ("alexnet", "resnet18_cifar", _R50):
    _add(
        f"degradation_aware_{_name.removesuffix(STEM)}",
        "degraded pictures in training (the price on clean ones)",
        _name,
        f"{_name} degradation_aware",
        None,
        "ours",
    )
