"""What a comparison says in sentences and rows; no Streamlit here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from xai import faithfulness
from xai.attribution import METHODS
from xai.comparison import CONDITIONS, Comparison, ModelResult

VALID = 0.9
"""Grad-CAM/HiResCAM agreement below which Grad-CAM's weights no longer stand for the gradient they average."""

Row = dict[str, str]


def lettered(done: Comparison) -> list[tuple[str, ModelResult]]:
    """The results with the letters A and B that the figure gives them."""
    return list(zip("AB", done.results, strict=False))


def cautions(done: Comparison) -> list[str]:
    """One sentence for each thing that makes a map say something else than what it seems to say."""
    strange = strangers(done.picture.label, done.results)
    return [*strange, *_grad_cam_validity(done), *_undefined_validity(done), *_no_evidence(done)]


class Knowing(Protocol):
    """What a network said of a picture, as far as its classes are concerned."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def dataset(self) -> str:
        """What it was trained on."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it can name."""


def strangers(label: str | None, results: Sequence[Knowing]) -> list[str]:
    """A sentence about each network that can't name what is in the picture, where that is known."""
    return [
        f"{letter} ({result.model}) was trained on {result.dataset} and has no class {label}, which the picture "
        "shows: whatever it says of this picture is wrong."
        for letter, result in zip("AB", results, strict=False)
        if label is not None and label not in result.classes
    ]


def notes(done: Comparison) -> list[str]:
    """One sentence for each thing that a reader of the figure should know besides."""
    return _grids(done)


def _grad_cam_validity(done: Comparison) -> list[str]:
    found = [(letter, result) for letter, result in lettered(done) if _differs(done, result)]
    if not found:
        return []
    names = " and ".join(f"{letter} ({r.model}, agreement {r.gradcam_hirescam:.2f})" for letter, r in found)
    return [
        f"Grad-CAM of {names} differs from HiResCAM here: its channel weights average the gradient over places that "
        "the network does not treat alike. Don't compare it with another network's Grad-CAM; use HiResCAM for both."
    ]


def _undefined_validity(done: Comparison) -> list[str]:
    return [
        f"The agreement of Grad-CAM and HiResCAM of {letter} ({result.model}) is not defined, because one of the two "
        "maps is constant: Grad-CAM can't be relied on here."
        for letter, result in lettered(done)
        if "gradcam" in done.request.methods and math.isnan(_agreement(result))
    ]


def _agreement(result: ModelResult) -> float:
    """Grad-CAM/HiResCAM agreement; 1 where no layer was tapped, NaN where one map is constant."""
    return 1.0 if result.gradcam_hirescam is None else result.gradcam_hirescam


def _differs(done: Comparison, result: ModelResult) -> bool:
    return "gradcam" in done.request.methods and _agreement(result) < VALID


def _grids(done: Comparison) -> list[str]:
    found = []
    for method in done.request.methods:
        grids = {letter: result.heatmaps[method]["clean"].tap.grid for letter, result in lettered(done)}
        if len(set(grids.values())) > 1:
            words = " and ".join(f"{letter}: {h} × {w}" for letter, (h, w) in grids.items())
            found.append(
                f"{METHODS[method].title} has maps of different grids ({words}): the finer one is averaged down "
                "before the two are subtracted, and looks sharper only because of its grid."
            )
    return found


def _no_evidence(done: Comparison) -> list[str]:
    found = []
    for method in done.request.methods:
        for letter, result in lettered(done):
            empty = [c for c in _conditions(done) if bool(result.heatmaps[method][c].no_evidence[0])]
            if empty:
                found.append(
                    f"{METHODS[method].title} of {letter} ({result.model}) shows no positive evidence for "
                    f"{result.classes[result.target]} ({' and '.join(empty)})."
                )
    return found


def _conditions(done: Comparison) -> tuple[str, ...]:
    return CONDITIONS if done.degraded else CONDITIONS[:1]


def top_rows(done: Comparison, result: ModelResult) -> list[Row]:
    """Top classes with their probabilities."""
    rows = []
    for name, clean, degraded in result.top(5):
        row = {"class": name, "clean": f"{clean:.3f}"}
        rows.append({**row, "degraded": f"{degraded:.3f}"} if done.degraded else row)
    return rows


def verdict(done: Comparison, result: ModelResult) -> str:
    """What the network says of the picture, clean and degraded."""
    said = [
        f"{result.predicted(condition)} ({float(result.probabilities[condition].max()):.0%})"
        for condition in _conditions(done)
    ]
    return said[0] if len(said) == 1 else f"{said[0]}; degraded: {said[1]}"


def agreement_rows(done: Comparison) -> list[Row]:
    """How alike the maps are."""
    return [
        {
            "method": METHODS[row.method].title,
            "between": row.between,
            "grid": f"{row.grid[0]} × {row.grid[1]}",
            "rank correlation": _number(row.spearman),
            "overlap of the top 20 %": _number(row.top_overlap),
            "shift of the centre (% of width)": _number(100 * row.centre_shift, "{:.0f}"),
        }
        for row in done.agreements
    ]


def _number(value: float, form: str = "{:.2f}") -> str:
    return form.format(value) if math.isfinite(value) else "not defined"


def object_rows(done: Comparison) -> list[Row]:
    """How well each map finds the object, for networks whose input has the size of the object's mask."""
    mask = done.picture.mask
    if mask is None:
        return []
    return [
        {
            "network": f"{letter}: {result.model}",
            "method": METHODS[method].title,
            "condition": condition,
            **_found(maps[condition].values[0], mask),
        }
        for letter, result in lettered(done)
        if tuple(mask.shape) == (result.size, result.size)
        for method, maps in result.heatmaps.items()
        for condition in _conditions(done)
    ]


def _found(values: Tensor, mask: Tensor) -> Row:
    return {
        "positive evidence inside": _number(faithfulness.mask_energy(values, mask), "{:.0%}"),
        "middle of the highest cell inside": "yes" if faithfulness.pointing_game(values, mask) else "no",
        "object's share of the area (chance)": f"{float(mask.float().mean()):.0%}",
    }


def object_notes(done: Comparison) -> list[str]:
    """What the rows of `object_rows` rest on, and which networks have none."""
    mask = done.picture.mask
    if mask is None:
        return []
    height, width = mask.shape
    left_out = [
        f"{letter} ({result.model}) is left out: its input has {result.size} × {result.size} pixels and the object's "
        f"mask {height} × {width}."
        for letter, result in lettered(done)
        if (height, width) != (result.size, result.size)
    ]
    return [
        "The mask is that of the clean picture; a map that ignores the object scores by chance. This is one picture: "
        "the Compare page measures it over many, with intervals.",
        *left_out,
    ]


def tap_rows(done: Comparison) -> list[Row]:
    """What was tapped for each map."""
    rows = []
    for letter, result in lettered(done):
        for method, maps in result.heatmaps.items():
            heatmap = maps["clean"]
            height, width = heatmap.tap.grid
            settings = ", ".join(f"{key} {value}" for key, value in heatmap.settings.items()) or "none"
            row = {
                "network": f"{letter}: {result.model}",
                "method": METHODS[method].title,
                "layers": ", ".join(heatmap.tap.layers),
                "position": heatmap.tap.position,
                "grid": f"{height} × {width}",
                "head": heatmap.tap.head,
                "class": result.classes[result.target],
                "settings": settings,
            }
            rows.append(row)
    return rows


def caption(done: Comparison) -> str:
    """What the figure shows, for those who can't see it."""
    parts = [f"Figure for {done.picture.name}"]
    for letter, result in lettered(done):
        target = result.classes[result.target]
        parts.append(f"{letter}, {result.model}, says {verdict(done, result)}; maps explain {target}")
    methods = ", ".join(METHODS[name].title for name in done.request.methods)
    return ". ".join([*parts, f"Methods: {methods}."])
