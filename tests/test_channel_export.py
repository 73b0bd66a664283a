"""Numbers and manifests of a channel's figures: what rows say, what a manifest names, and frames in small pictures."""

from __future__ import annotations

import json
import math

import torch

from data import thumbnails
from models.registry import Model
from tests.feature_helpers import Colours, wrap
from xai import channel_export
from xai.channel_classes import Classes
from xai.channel_profile import SeverityPoint, TopImage
from xai.cka import CkaMatrix
from xai.counterparts import Neighbour, Pair
from xai.feature_layers import LayerInfo
from xai.receptive_field import Box
from xai.visualization_store import weights_sha256


def model() -> Model:
    return wrap(Colours())


def test_top_images_say_what_their_cell_sees() -> None:
    images = [TopImage(7, "cue10/test/7", 1, 2.5, (3, 4)), TopImage(2, "cue10/test/2", 0, 1.0, (0, 0))]
    boxes = [Box(1, 2, 5, 6), Box(0, 0, 3, 4)]
    first, second = channel_export.top_rows(images, boxes, ("cat", "dog"))
    assert first == {
        **{"place": 1, "image": "cue10/test/7", "class": "dog", "response": 2.5, "cell_row": 3},
        **{"cell_column": 4, "top": 1, "left": 2, "bottom": 5, "right": 6},
    }
    assert (second["place"], second["class"]) == (2, "cat")


def test_classes_come_by_what_is_said_for_them() -> None:
    weights = Classes("weight", ("cat", "dog"), (-1.0, 2.0))
    rows = channel_export.class_rows(weights)
    assert rows == [
        {"class": "dog", "weight": 2.0, "low": None, "high": None, "n": None},
        {"class": "cat", "weight": -1.0, "low": None, "high": None, "n": None},
    ]
    measured = Classes("gradient x activation", ("cat",), (1.0,), (0.5,), (1.5,), 64)
    assert channel_export.class_rows(measured)[0]["low"] == 0.5


def test_what_is_no_number_is_left_out() -> None:
    point = SeverityPoint("conv", 0, "jpeg", "cifar-c", 1.0, 5, 0.0, -1.0, 1.0, *[math.nan] * 3)
    (row,) = channel_export.severity_rows([point])
    assert (row["response"], row["relative"]) == (0.0, None)


def test_counterparts_and_layers_alike() -> None:
    rows = channel_export.counterpart_rows(
        3, [Neighbour(9, 0.8, 0.7, 0.9)], [Pair(0, 1, 0.5), Pair(3, 9, 0.8)]
    )
    assert [(row["kind"], row["a"], row["b"]) for row in rows] == [
        ("nearest", 3, 9),
        ("matched", 0, 1),
        ("matched", 3, 9),
    ]
    layers = [LayerInfo(name, "Conv2d", 2, (1, 1), 1) for name in ("x", "y", "z")]
    values = torch.tensor([[0.1, math.nan]], dtype=torch.float64)
    matrix = CkaMatrix(values, (layers[0],), (layers[1], layers[2]), "A", "B", "clean", "jpeg 3", 50, 2)
    found = channel_export.cka_rows([matrix])
    assert [(row["layer_a"], row["layer_b"], row["cka"]) for row in found] == [
        ("x", "y", 0.1),
        ("x", "z", None),
    ]
    assert found[0]["condition_b"] == "jpeg 3"


def test_a_manifest_names_the_weights_and_what_was_asked() -> None:
    found = json.loads(channel_export.manifest("severity", [model()], {"layer": "conv", "channel": 2}))
    assert found["format"] == channel_export.FORMAT
    assert found["models"][0]["weights"] == weights_sha256(model().network)
    assert found["asked"] == {"layer": "conv", "channel": 2}
    assert "torch" in found["versions"]


def test_a_frame_lies_around_the_box_and_is_seen_on_any_picture() -> None:
    grey = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
    boxes = [(4, 4, 12, 12), (0, 0, 8, 16)]  # of images of 16 px, twice as large
    first, second = thumbnails.framed(grey, boxes, (16, 16))
    changed = (first != 128).any(dim=0)
    ring = torch.zeros(8, 8, dtype=torch.bool)
    ring[1:7, 1:7] = True
    ring[2:6, 2:6] = False
    assert torch.equal(changed, ring)
    assert set(first[:, ring].flatten().tolist()) == {0, 255}
    assert (second != 128).any(dim=0).nonzero()[:, 0].unique().tolist() == [
        4
    ]  # the other sides are the border
    assert bool((grey == 128).all())
