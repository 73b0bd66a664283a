"""What manifests of all kinds share: how they are read, and what they say of pictures, networks and versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np

from models.registry import Model
from xai.comparison import (
    Answered,
    Picture,
    View,
)

PACKAGES = ("torch", "numpy", "matplotlib", "captum", "grad-cam", "pillow")


class ManifestError(ValueError):
    """A manifest that can't be used, or that does not belong to what it was given with."""


@contextmanager
def reading() -> Iterator[None]:
    """Says in one sentence, as a `ManifestError`, that a manifest can't be read, whatever of it is not as it should be.

    Manifests come from anywhere: numbers may be infinite, texts numbers, and lists anything.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ManifestError("The manifest is not one that this program wrote.") from error


def whole(value: Any, least: int = 0) -> int:
    """A manifest's whole number from `least`; raises `ValueError` for anything else, also for 2.0 and true."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{value!r} was given; allowed are whole numbers from {least}.")
    return value


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def answer_facts(
    result: Answered, view: View, conditions: Sequence[str], own: Mapping[str, Any]
) -> dict[str, Any]:
    """What a manifest says of a network, of its answers under the conditions and of the picture as it saw it; `own`
    is what the kind of manifest adds."""
    return {
        "name": result.model,
        "architecture": result.architecture,
        "dataset": result.dataset,
        "sha256": result.sha256,
        "card_sha256": card_digest(result.architecture, result.size, result.classes),
        "device": result.device,
        "input": view.resized,
        "target": result.classes[result.target],
        "predicted": {condition: result.predicted(condition) for condition in conditions},
        **own,
        "degradation": {"words": view.degradation, "scale": view.scale, **view.parameters},
        "psnr_db": finite(view.psnr),
        "ssim": finite(view.ssim),
    }


def finite(value: float | None) -> float | None:
    """NaN and infinity are no JSON."""
    return value if value is not None and np.isfinite(value) else None


def card_digest(architecture: str, input_size: int, classes: Sequence[str]) -> str:
    """Hash of what a card says of the weights that a figure depends on."""
    return hashlib.sha256(json.dumps([architecture, input_size, list(classes)]).encode()).hexdigest()


def picture_facts(picture: Picture) -> dict[str, Any]:
    """What a manifest says of a picture, from which `picture_again` finds it."""
    height, width = picture.pixels.shape[-2:]
    return {
        "name": picture.name,
        "sha256": picture.sha256,
        "source": picture.source,
        "label": picture.label,
        "image_id": picture.image_id,
        "width": width,
        "height": height,
    }


def is_picture(facts: Mapping[str, Any]) -> bool:
    """Whether a manifest's facts of its picture have the right types."""
    named = all(isinstance(facts[key], str) for key in ("name", "sha256", "source"))
    return named and isinstance(facts["label"], str | None) and isinstance(facts.get("image_id", ""), str)


def same_model(model: Model, entry: Mapping[str, Any]) -> Model:
    """The model, when it is the one of a manifest's entry with `sha256` and `card_sha256`; `ManifestError` if not."""
    if model.card.sha256 != entry["sha256"]:
        raise ManifestError(
            f"The checkpoint {model.name} is not the one in the manifest: its sha256 differs."
        )
    digest = card_digest(model.card.architecture, model.input_size, model.classes)
    if digest != entry["card_sha256"]:
        raise ManifestError(
            f"The card of {model.name} names other classes or another input than the manifest's."
        )
    return model
