"""Work that may take long says how far it is, ends when asked to, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from models import zoo
from tests.explain_helpers import FAST, TARGETS, photographs, small_model
from xai import attribution, faithfulness, latency
from xai.attribution import METHODS
from xai.comparison import Request, compare, picture_from_scene
from xai.hooks import count_hooks
from xai.shares import part
from xai.ui import patience

REPEATED = tuple(
    name
    for name, entry in METHODS.items()
    if entry.family == "perturbation" or {"steps", "samples"} & set(entry.defaults)
)
"""Methods that run a network many times."""


class Enough(Exception):
    """Raised by a listener that has heard enough."""


def enough(_share: float) -> None:
    raise Enough


def assert_rises_to_one(shares: list[float], least: int) -> None:
    assert len(shares) >= least
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(1)


def test_parts_of_parts_have_their_place_in_the_whole() -> None:
    heard = list[float]()
    inner = part(part(heard.append, 1, 2), 3, 4)
    for share in (0.0, 0.5, 1.0):
        inner(share)
    assert heard == [0.875, 0.9375, 1.0]


@pytest.mark.parametrize("layers", [("layer2",), ("layer2", "layer3")])
@pytest.mark.parametrize("method", REPEATED)
def test_methods_that_run_a_network_many_times_say_how_far_they_are(
    method: str, layers: tuple[str, ...]
) -> None:
    model, images, heard = small_model("resnet18"), photographs(32), list[float]()
    options: dict[str, Any] = {"targets": TARGETS, **FAST.get(method, {})}
    if METHODS[method].layered:
        options["layers"] = layers
    told = attribution.explain(model, images, method, told=heard.append, **options)
    assert_rises_to_one(heard, len(images))
    assert torch.equal(told.values, attribution.explain(model, images, method, **options).values)


@pytest.mark.parametrize("method", REPEATED)
def test_a_method_that_is_ended_leaves_the_network_as_it_was(method: str) -> None:
    model = small_model("resnet18")
    before = [model.network.training, *(each.requires_grad for each in model.network.parameters())]
    with pytest.raises(Enough):
        attribution.explain(model, photographs(32), method, targets=TARGETS, told=enough)
    assert count_hooks(model.network) == 0
    assert before == [model.network.training, *(each.requires_grad for each in model.network.parameters())]
    assert model.lock.acquire(blocking=False), "another thread may go on"
    model.lock.release()


@pytest.mark.parametrize("degradation", ["none", "gaussian_noise"])
def test_a_comparison_says_how_far_all_its_maps_are(degradation: str) -> None:
    names, heard = ("alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0"), list[float]()
    request = Request(names, ("gradcam", "occlusion", "smoothgrad"), degradation=degradation, severity=2.0)
    compare(request, picture_from_scene("test", 1), [zoo.load(name) for name in names], told=heard.append)
    assert_rises_to_one(heard, 8 if degradation == "none" else 16)


def test_curves_and_times_say_how_far_they_are() -> None:
    model, image = small_model("resnet18"), photographs(32)[:1]
    for work in (
        lambda told: faithfulness.deletion_insertion(model, image, torch.rand(4, 4), 1, told=told),
        lambda told: latency.measure(model, (1, 2), seconds=0.05, told=told),
    ):
        heard = list[float]()
        work(heard.append)
        assert_rises_to_one(heard, 2)
        with pytest.raises(Enough):
            work(enough)
        assert model.lock.acquire(blocking=False)
        model.lock.release()


def app() -> None:
    """A page with one piece of work, which counts how often it is done."""
    import streamlit as st

    from xai.shares import Told
    from xai.ui import showing
    from xai.ui.patience import patient

    asked = st.selectbox("Asked", ["this", "that"])

    def work(told: Told) -> str:
        st.session_state["done"] = st.session_state.get("done", 0) + 1
        told(0.5)
        return "found"

    with showing.one_sentence():
        st.markdown(patient("place", "Counting", work, asked))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(patience, "BEFORE", 0.0)
    monkeypatch.setattr(patience, "EVERY", 0.0)
    return AppTest.from_function(app, default_timeout=30)


def test_what_ends_quickly_says_nothing(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "BEFORE", 1000.0)
    page.run()
    assert (page.markdown[0].value, len(page.button)) == ("found", 0)


def test_bar_and_button_are_gone_when_it_ends(page: AppTest) -> None:
    page.run()
    assert page.markdown[0].value == "found"
    assert not page.button
    assert not page.exception


def test_what_was_cancelled_is_not_begun_again_until_it_is_wanted(page: AppTest) -> None:
    page.session_state["place_cancelled"] = "this"
    page.run()
    assert "done" not in page.session_state
    assert [button.label for button in page.button] == ["Compute it after all"]
    assert "Counting" in page.info[0].value
    page.selectbox[0].select("that").run()
    assert page.session_state["done"] == 1, "something else is asked for"
    page.selectbox[0].select("this").run()
    page.button[0].click().run()
    assert page.session_state["done"] == 2
    assert page.markdown[0].value == "found"
    page.run()
    assert not page.button, "nor is it asked again"


def test_the_time_left_is_said() -> None:
    class Place:
        def container(self) -> Any:
            raise Enough

    watch = patience._Watch(Place(), "place", "Counting", None)
    assert watch._left(0.0, watch._begin + 5) == ""
    assert watch._left(0.25, watch._begin + 5) == ", about 15 s left"
    watch.told(0.5)  # before anything is to be said
    watch._begin -= 10
    watch._seen -= 10
    with pytest.raises(Enough):
        watch.told(0.5)
