"""What the Channel page says of how much of the image a cell sees."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def _page(side: int, stride: int) -> None:
    import torch
    from torch import nn

    from tests.feature_helpers import wrap
    from xai.feature_layers import layer_table
    from xai.ui.channel_choice import Chosen, say

    network = nn.Sequential(nn.Conv2d(3, 3, side, stride), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(1, 3, 8, 8))  # the lazy layer learns how much it reads
    model = wrap(network, stages=("0",))
    say(Chosen(model, None, layer_table(model, 8)[0], 0))


@pytest.mark.parametrize(
    ("side", "stride", "words"),
    [
        (5, 8, "it sees 5 × 5 of the 8 × 8 px"),
        (8, 1, "it sees the whole image"),
        (3, 1, "a cell in the middle sees 3 × 3 of the 8 × 8 px"),
    ],
)
def test_how_much_a_cell_sees(side: int, stride: int, words: str) -> None:
    app = AppTest.from_function(_page, default_timeout=60, kwargs={"side": side, "stride": stride}).run()
    assert not app.exception
    assert words in app.markdown[0].value
