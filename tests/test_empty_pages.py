"""Pages on a machine with nothing on it: one sentence that says what to do, and nothing that looks like a failure."""

from __future__ import annotations

import pytest

from tests.page_helpers import healthy, visit, words
from xai.ui import explaining


@pytest.mark.parametrize("page", ["explain", "features", "channel", "embeddings", "compare"])
def test_a_machine_without_networks_says_what_to_do(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "cards", dict)
    app = visit(page)
    assert healthy(app), words(app)
    (said,) = app.info
    assert "No network is on this machine: bring one in on the page Your own" in said.value.replace("\\", "")
    assert not app.image


def test_a_channel_without_images_says_what_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    from xai.ui import channel_data

    monkeypatch.setattr(channel_data, "choose", lambda model: None)
    app = visit("channel", a="alexnet-cue10-s0")
    assert healthy(app), words(app)
    assert "Choose images above" in words(app)
