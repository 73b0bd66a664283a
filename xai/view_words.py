"""How each network got the picture, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from xai.comparison import View


class Viewed(Protocol):
    """What was found out on a picture as each of the networks sees it, of heatmaps or of anything else."""

    @property
    def results(self) -> Sequence[Any]:
        """One per network."""

    @property
    def degraded(self) -> bool:
        """Whether a degradation of more than nothing was asked for."""

    def view(self, result: Any, /) -> View:
        """The picture as that network saw it."""


def view_sentences(comparison: Viewed) -> list[str]:
    """How each network got the picture (resizing, degradation with its constants, PSNR and SSIM), once for those
    that got the same; with the letters A and B where they differ."""
    found: dict[str, list[str]] = {}
    for letter, result in zip("AB", comparison.results, strict=False):
        view = comparison.view(result)
        words = f"{view.resized}."
        if comparison.degraded:
            words += f" {view.degradation}: PSNR {view.psnr:.1f} dB, SSIM {view.ssim:.3f}."
        found.setdefault(words, []).append(letter)
    if len(found) == 1:
        return list(found)
    return [f"{' and '.join(letters)}: {words}" for words, letters in found.items()]
