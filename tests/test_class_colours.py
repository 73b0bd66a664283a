"""Colours and markers that every reader can tell apart, checked by simulating the three kinds of colour blindness."""

from __future__ import annotations

import numpy as np
import pytest

from xai import class_colours
from xai.class_colours import MARKERS, TRANSITIONS, Look, as_hex, as_rgb, class_looks

MACHADO = {
    "most": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB."""


def seen(colours: list[str], reader: str) -> np.ndarray:
    """CIELAB `(N, 3)` of colours as a reader sees them."""
    from skimage.color import rgb2lab

    rgb = np.stack([as_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(MACHADO[reader]).T, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def differences(looks: list[Look] | tuple[Look, ...], reader: str, *, marked: bool = True) -> np.ndarray:
    """CIEDE2000 of every pair of looks `(N, N)`; infinite on the diagonal and, if `marked`, where markers differ."""
    from skimage.color import deltaE_ciede2000

    lab = seen([look.colour for look in looks], reader)
    found = deltaE_ciede2000(lab[:, None], lab[None])
    marks = np.array([look.marker for look in looks])
    apart = np.eye(len(looks), dtype=bool) | (marked & (marks[:, None] != marks))
    return np.where(apart, np.inf, found)


def test_the_simulation_makes_red_and_green_alike_for_those_without_green_cones() -> None:
    pair = [Look("#b05050"), Look("#7a7a3a")]
    assert differences(pair, "no green cones").min() < 0.5 * differences(pair, "most").min()


@pytest.mark.parametrize("reader", MACHADO)
def test_ten_classes_differ_by_colour_alone(reader: str) -> None:
    assert differences(class_looks(10), reader, marked=False).min() > 17


@pytest.mark.parametrize("reader", MACHADO)
def test_twenty_classes_differ_by_colour_or_marker(reader: str) -> None:
    assert differences(class_looks(20), reader).min() > 12


def test_a_hundred_classes_differ_and_twenty_by_colour_alone_for_most() -> None:
    assert differences(class_looks(20), "most", marked=False).min() > 10
    looks = class_looks(100)
    assert differences(looks, "most").min() > 10
    assert len(set(looks)) == 100
    assert len({look.marker for look in looks}) == 5


def test_looks_hold_for_any_number_of_classes() -> None:
    assert class_looks(0) == ()
    assert len(set(class_looks(200))) == 200
    assert class_looks(1000)[999] in class_looks(200)
    assert class_looks(7) == class_looks(10)[:7]


@pytest.mark.parametrize("reader", MACHADO)
@pytest.mark.parametrize("looks", [class_colours.CORRECTNESS, class_colours.TRANSITION])
def test_right_and_wrong_differ_by_colour_and_marker(looks: dict[str, Look], reader: str) -> None:
    entries = list(looks.values())
    assert len({look.marker for look in entries}) == len(entries)
    assert differences(entries, reader, marked=False).min() > 12


@pytest.mark.parametrize("reader", MACHADO)
@pytest.mark.parametrize(
    ("scale", "way"), [(class_colours.confidence_scale(), 1), (class_colours.severity_scale(5), -1)]
)
def test_scales_are_even_in_lightness_for_every_reader(
    scale: class_colours.Scale, way: int, reader: str
) -> None:
    values = np.linspace(scale.low, scale.high, 33)
    lightness = seen(scale.at(values), reader)[:, 0]
    steps = way * np.diff(lightness)
    assert steps.min() > 0
    assert steps.max() < 2.5 * steps.mean()


def test_a_scale_ends_at_its_ends() -> None:
    scale = class_colours.severity_scale(4)
    assert scale.at(np.array([-1.0, 0, 4, 9, np.nan])) == [
        scale.colours[0],
        scale.colours[0],
        scale.colours[-1],
        scale.colours[-1],
        class_colours.NONE_COLOUR,
    ]
    assert scale.for_plotly()[-1] == (1.0, scale.colours[-1])
    assert class_colours.severity_scale(0).at(np.array([0.0])) == [scale.colours[0]]


def test_transitions_by_hand() -> None:
    before, after = np.array([1, 0, 1, 0], bool), np.array([1, 1, 0, 0], bool)
    assert [TRANSITIONS[row] for row in class_colours.transitions(before, after)] == list(TRANSITIONS)


def test_colours_survive_being_written() -> None:
    for look in class_looks(20):
        assert as_hex(as_rgb(look.colour)) == look.colour


def test_markers_are_plotlys_and_matplotlibs() -> None:
    from matplotlib.lines import Line2D
    from plotly.validator_cache import ValidatorCache

    allowed = ValidatorCache.get_validator("scattergl.marker", "symbol").values
    assert set(MARKERS) <= set(allowed)
    assert set(MARKERS.values()) <= set(Line2D.filled_markers)
