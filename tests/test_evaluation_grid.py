"""The cells of a sweep: how many, what makes them equal, and names that stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import pytest

from data import cue10
from data.degradations import DEGRADATIONS, degrade
from data.remedy_registry import REMEDIES
from models.cards import Card
from xai.evaluation_grid import CLEAN, SETS, Cell, clean, conditions, degraded, grid, where_told

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CELL = Cell("cifar10", "test", "some", "ab" * 32, "gaussian_noise", "cifar-c", 3.0, 7, 1)


def card(name: str, **others: object) -> Card:
    values = {"classes": CLASSES, "input_size": 32, "sha256": name * 8, **others}
    return Card(name, "alexnet", "cifar10", seed=0, device="cpu", recipe={}, **values)  # type: ignore[arg-type]


def test_the_paper_grid_has_sixteen_conditions() -> None:
    cells = grid(["cifar10"], [card("a"), card("b")], ["paper"])
    assert len(cells) == len(set(cells)) == 2 * 16
    assert [cell.model for cell in cells[:4]] == ["a", "b", "a", "b"]
    assert {cell.scale for cell in cells} == {"", "paper-relative"}
    found = {(cell.degradation, cell.severity) for cell in cells}
    names = ("gaussian_noise", "gaussian_blur", "motion_blur", "jpeg_compression", "pixelate")
    assert found == {(CLEAN, 0.0)} | {(name, level) for name in names for level in (1.0, 2.0, 3.0)}
    literal = grid(["cifar10"], [card("a")], ["paper"], scale="paper-literal")
    assert len(literal) == 16
    assert set(literal) & set(cells) == {cells[0]}


@pytest.mark.parametrize("name", ["cifar-c", "imagenet-c"])
def test_the_corruption_sets_have_five_severities_of_everything(name: str) -> None:
    found = conditions([name], None, None, 32)
    assert len(found) == 1 + 5 * len(DEGRADATIONS)
    assert {scale for _name, scale, severity in found if severity} == {name}


def test_sets_and_names_are_united() -> None:
    found = conditions(["jpeg", "jpeg_compression", CLEAN, "cifar-c"], None, None, 32)
    assert found[:3] == (
        (CLEAN, "", 0.0),
        ("jpeg_compression", "cifar-c", 1.0),
        ("jpeg_compression", "cifar-c", 2.0),
    )
    assert len(found) == 1 + 5 * len(DEGRADATIONS)
    assert conditions(["jpeg"], None, [2.5], 224)[1] == ("jpeg_compression", "imagenet-c", 2.5)


def test_what_does_not_matter_makes_no_other_cell() -> None:
    nothing = degraded(CELL, "fog", "cifar-c", 0, 3)
    assert nothing == degraded(CELL, CLEAN, "", 0, 9) == clean(CELL) == clean(replace(CELL, remedy="median"))
    assert degraded(CELL, "jpeg", "paper", 2, 0) == degraded(
        CELL, "jpeg_compression", "paper-relative", 2.0, 9
    )
    assert degraded(CELL, "fog", "cifar-c", 1, 0) != degraded(CELL, "fog", "cifar-c", 1, 1)


def test_every_field_makes_another_cell() -> None:
    keys = {CELL.key}
    for entry in fields(Cell):
        value = getattr(CELL, entry.name)
        keys.add(replace(CELL, **{entry.name: value + (type(value)(1) if value != "" else "x")}).key)
    assert len(keys) == 1 + len(fields(Cell))


def test_another_version_of_a_degradation_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = grid(["cifar10"], [card("a")], ["fog", "snow"], severities=[1])
    monkeypatch.setitem(DEGRADATIONS, "fog", replace(DEGRADATIONS["fog"], version=2))
    after = grid(["cifar10"], [card("a")], ["fog", "snow"], severities=[1])
    assert [a.key == b.key for a, b in zip(cells, after, strict=True)] == [True, False, True]


PIXELS = {
    "gaussian_blur": (1, 0.032361),
    "defocus_blur": (1, 0.026180),
    "glass_blur": (1, 0.051098),
    "motion_blur": (1, 0.052597),
    "zoom_blur": (1, 0.063911),
    "gaussian_noise": (1, 0.061615),
    "shot_noise": (1, 0.052127),
    "impulse_noise": (1, 0.015817),
    "speckle_noise": (1, 0.044095),
    "snow": (1, 0.102179),
    "fog": (1, 0.113454),
    "brightness": (1, 0.100296),
    "contrast": (1, 0.097905),
    "saturate": (1, 0.068199),
    "elastic_transform": (1, 0.083225),
    "pixelate": (1, 0.018954),
    "jpeg_compression": (1, 0.046566),
}
"""Of every degradation its version, and the mean change of two scenes' values at severity 3 of `cifar-c`."""


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degradation_that_changes_its_pixels_needs_a_new_version(name: str) -> None:
    """Where this fails on purpose, raise `version` in the degradation's `register`, and note the new change here."""
    images = cue10.draw("test", 0, 2)[0].float() / 255
    changed = degrade(images, name, 3, scale="cifar-c", image_ids=("a", "b"), seed=0)
    version, change = PIXELS[name]
    assert DEGRADATIONS[name].version == version
    assert float((changed - images).abs().mean()) == pytest.approx(change, abs=2e-5)


def test_names_are_safe_and_stay() -> None:
    assert CELL.path == "cifar10/some/gaussian_noise-cifar-c-3-s7-de7fd78d061b.parquet"
    assert replace(CELL, model="../a b", limit=9, precision="bf16").path.startswith(
        "cifar10/_a_b/gaussian_noise"
    )
    assert clean(replace(CELL, limit=9)).key.startswith("clean-n9-")
    assert "/" not in replace(CELL, remedy="../../x").key
    assert len(replace(CELL, remedy="x" * 500).key) < 120


def test_cells_that_see_the_same_images_are_known() -> None:
    other = replace(CELL, model="other", model_sha256="cd", precision="bf16")
    assert other.pixels == CELL.pixels
    assert replace(other, seed=8).pixels != CELL.pixels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": CLASSES[:9]}, "a does not know 1 of the 10 classes of cifar10, such as 'truck'"),
        ({"input_size": 64}, "a takes images of 64 px, but cifar10 has 32 px"),
    ],
)
def test_networks_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(["cifar10"], [card("a", **change)], list(SETS))


def test_remedies_are_cells_of_their_own_where_they_apply() -> None:
    cells = grid(["cifar10"], [card("a")], ["paper"], remedies=["none", "nlm", "nlm+told", "wiener+told"])
    plain = [cell for cell in cells if not cell.remedy]
    assert plain == list(grid(["cifar10"], [card("a")], ["paper"]))
    counts = Counter(cell.remedy for cell in cells)
    assert counts == {"": 16, "nlm.v1": 16, "nlm+told.v1": 3, "wiener+told.v1": 6}
    told = {cell.degradation for cell in cells if cell.remedy == "wiener+told.v1"}
    assert told == {"gaussian_blur", "motion_blur"}
    assert where_told(cells) == (
        "nlm+told.v1 is for gaussian_noise, and left out elsewhere.",
        "wiener+told.v1 is for gaussian_blur, motion_blur, and left out elsewhere.",
    )
    assert cells[-1].key.startswith("motion_blur-paper-relative-3-s0-wiener_told.v1-")


def test_sets_of_remedies() -> None:
    one, everything = (
        grid(["cifar10"], [card("a")], ["paper"], remedies=asked)
        for asked in (["none", "blind", "told"], ["all", "nlm"])
    )
    assert set(one) == set(everything)
    assert len(everything) == 16 + 5 * 16 + (3 + 3 + 6 + 3)
    assert grid(["cifar10"], [card("a")], [CLEAN], remedies=["told"]) == ()


def test_another_version_of_a_remedy_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        cells = grid(["cifar10"], [card("a")], ["fog"], severities=[1], remedies=["none", "nlm", "median"])
        return [cell.key for cell in cells]

    before = keys()
    monkeypatch.setitem(REMEDIES, "nlm", replace(REMEDIES["nlm"], version=2))
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [True, True, False, False, True, True]


@pytest.mark.parametrize(
    ("remedies", "degradations", "message"),
    [
        (
            ["wiener+told"],
            ["gaussian_noise"],
            "wiener.told does not apply to gaussian_noise; allowed are gaussian_blur",
        ),
        (["none", "nlm+told"], [CLEAN], "nlm.told does not apply to clean; allowed are gaussian_noise"),
        (["nothing"], ["fog"], "remedy 'nothing' is unknown; allowed are"),
    ],
)
def test_remedies_that_apply_to_nothing_are_refused(
    remedies: list[str], degradations: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        grid(["cifar10"], [card("a")], degradations, remedies=remedies)


def test_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no network is named"):
        grid(["cifar10"], [], ["paper"])
