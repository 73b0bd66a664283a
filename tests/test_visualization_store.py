"""Visualisations that are kept on disk: nothing is made twice, nothing damaged is taken, nothing grows for ever."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from models.registry import Model
from tests.conftest import TinyModel
from xai import visualization_store
from xai.attribution_types import ExplanationError
from xai.feature_visualization import Cancelled, Goal, Settings, visualize
from xai.visualization_store import Kept, Store, default_store, find, find_all, stored

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = Settings(steps=3, strip=2, batch=2)
FIVE = [f"channel:layer1:{channel}" for channel in range(5)]


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Model:
    return tiny_model("resnet18_cifar", 16)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The objectives of every run of `visualize`."""
    seen: list[list[str]] = []

    def counted(model: Model, objectives: Sequence[Any], *rest: Any, **options: Any) -> Any:
        seen.append([goal.text for goal in objectives])
        return visualize(model, objectives, *rest, **options)

    monkeypatch.setattr(visualization_store, "visualize", counted)
    return seen


def same(one: Kept, other: Kept) -> bool:
    """Whether two pictures agree in everything, to the bit."""
    tensors = torch.equal(one.image, other.image) and torch.equal(one.strip, other.strip)
    return tensors and (one.value, one.strip_steps, one.facts) == (
        other.value,
        other.strip_steps,
        other.facts,
    )


def files(store: Store) -> list[Path]:
    return sorted(store.folder.glob("*.safetensors"))


def test_a_second_call_reads_what_the_first_made(model: Model, store: Store, calls: list[list[str]]) -> None:
    first = stored(model, FIVE, SETTINGS, store=store)
    assert calls == [FIVE[:2], FIVE[2:4], FIVE[4:]]
    again = stored(model, FIVE[::-1], SETTINGS, store=store)
    assert len(calls) == 3
    assert all(map(same, first, again[::-1]))
    assert [kept.objective for kept in again] == FIVE[::-1]


def test_what_is_kept_is_what_visualize_makes(model: Model, store: Store) -> None:
    made = visualize(model, FIVE[:2], SETTINGS)
    for row, kept in enumerate(stored(model, FIVE[:2], SETTINGS, store=store)):
        assert torch.equal(kept.image, made.images[row])
        assert kept.value == float(made.values[row])
        assert kept.strip_steps == made.strip_steps
        assert float((kept.strip - made.strip[row]).abs().max()) <= 0.5 / 255 + 1e-6


def test_only_the_missing_are_made(model: Model, store: Store, calls: list[list[str]]) -> None:
    stored(model, FIVE[1:3], SETTINGS, store=store)
    stored(model, FIVE, SETTINGS, store=store)
    assert calls == [FIVE[1:3], [FIVE[0], FIVE[3]], [FIVE[4]]]


def test_a_cancelled_run_goes_on_where_it_was(model: Model, store: Store, calls: list[list[str]]) -> None:
    done: list[int] = []

    def progress(steps: int, _total: int, _pictures: Tensor) -> None:
        done.append(steps)

    with pytest.raises(Cancelled):  # after the first batch, two pictures of three steps
        stored(
            model,
            FIVE,
            SETTINGS,
            store=store,
            progress=progress,
            cancelled=lambda: bool(done) and done[-1] >= 6,
        )
    assert len(files(store)) == 2
    calls.clear()
    stored(model, FIVE, SETTINGS, store=store)
    assert calls == [FIVE[2:4], FIVE[4:]]


def test_progress_counts_the_missing_and_shows_all(model: Model, store: Store) -> None:
    (kept,) = stored(model, FIVE[:1], SETTINGS, store=store)
    told: list[tuple[int, int, Tensor]] = []
    stored(model, FIVE, SETTINGS, store=store, progress=lambda d, t, p: told.append((d, t, p.clone())))
    assert {total for _done, total, _pictures in told} == {4 * SETTINGS.steps}
    assert told[-1][0] == 4 * SETTINGS.steps
    assert [done for done, _total, _pictures in told] == sorted(done for done, _total, _pictures in told)
    assert all(torch.equal(pictures[0], kept.image) for _done, _total, pictures in told)
    assert not torch.equal(told[-1][2][4], told[0][2][4])  # grey until its turn comes


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"steps": 4}, {"size": 24}, {"transforms": "none"}, {"colours": "none"}]
)
def test_other_settings_are_another_entry(
    model: Model, store: Store, calls: list[list[str]], change: dict[str, Any]
) -> None:
    stored(model, FIVE[:1], SETTINGS, store=store)
    assert find(model, FIVE[0], replace(SETTINGS, **change), store=store) is None
    stored(model, FIVE[:1], replace(SETTINGS, **change), store=store)
    assert len(calls) == 2
    assert len(files(store)) == 2


def test_defaults_written_out_are_the_same_entry(model: Model, store: Store) -> None:
    stored(model, ["unit:layer1:2", "class:3"], SETTINGS, store=store)
    named = replace(SETTINGS, size=16, transforms="small", batch=7)
    assert find_all(model, ["unit:layer1:2:8,8", "class:class 3"], named, store=store) is not None


def test_other_weights_are_another_entry(tiny_model: TinyModel, store: Store, calls: list[list[str]]) -> None:
    own = tiny_model("resnet18_cifar", 16)
    stored(own, FIVE[:1], SETTINGS, store=store)
    with torch.no_grad():
        next(own.network.parameters()).mul_(1.5)
    (other,) = stored(own, FIVE[:1], SETTINGS, store=store)
    assert len(calls) == 2
    assert len(files(store)) == 2
    assert find(own, FIVE[0], SETTINGS, store=store) is not None
    assert other.facts["model"]["sha256"]


def test_a_card_does_not_speak_for_other_weights(tiny_model: TinyModel, store: Store) -> None:
    """A network that was loaded and has learned since has the card of the file."""
    own = tiny_model("resnet18_cifar", 16)
    own = replace(own, card=replace(own.card, sha256="a" * 64))
    (first,) = stored(own, FIVE[:1], SETTINGS, store=store)
    with torch.no_grad():
        next(own.network.parameters()).mul_(1.5)
    assert find(own, FIVE[0], SETTINGS, store=store) is None
    (other,) = stored(own, FIVE[:1], SETTINGS, store=store)
    assert first.facts["model"]["sha256"] == other.facts["model"]["sha256"] == "a" * 64
    assert first.facts["model"]["weights"] != other.facts["model"]["weights"]


def test_only_what_a_text_names_is_kept(model: Model, store: Store) -> None:
    """A goal of one's own may have the text of another."""
    goal = Goal(FIVE[0], ("layer1",), lambda activations, _images: -activations["layer1"].mean((1, 2, 3)))
    for keep in (stored, find_all):
        with pytest.raises(
            ExplanationError, match="a Goal was given; only pictures of objectives given as text"
        ):
            keep(model, [goal], SETTINGS, store=store)  # type: ignore[list-item]
    assert files(store) == []


def test_one_entry_for_all_texts_that_say_the_same(
    model: Model, store: Store, calls: list[list[str]]
) -> None:
    for text in ("mix:layer1:2+1", "mix:layer1:1*1+2*1", "mix:layer1#1:01+2"):
        stored(model, [text], SETTINGS, store=store)
    assert calls == [["mix:layer1:1+2"]]


def test_copies_are_different_pictures(model: Model, store: Store, calls: list[list[str]]) -> None:
    one, two = stored(model, [FIVE[0]] * 2, SETTINGS, store=store)
    assert not torch.equal(one.image, two.image)
    assert all(map(same, (one, two), stored(model, [FIVE[0]] * 2, SETTINGS, store=store)))
    (alone,) = stored(model, FIVE[:1], SETTINGS, store=store)
    assert same(alone, one)
    assert len(calls) == 1
    diverse = replace(SETTINGS, diversity=1.0)  # there it matters how many copies there are
    stored(model, [FIVE[0]] * 2, diverse, store=store)
    assert find(model, FIVE[0], diverse, store=store) is None


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _other(path: Path) -> None:
    path.write_bytes(next(p for p in path.parent.glob("*.safetensors") if p != path).read_bytes())


@pytest.mark.parametrize("damage", [_cut, _flip, _empty, _other])
def test_a_damaged_file_is_made_again(
    model: Model, store: Store, calls: list[list[str]], damage: Callable[[Path], None]
) -> None:
    before = stored(model, FIVE[:2], SETTINGS, store=store)
    damage(files(store)[0])
    assert find_all(model, FIVE[:2], SETTINGS, store=store) is None
    after = stored(model, FIVE[:2], SETTINGS, store=store)
    assert len(calls) == 2
    assert len(calls[1]) == 1
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.image, other.image)


def _objective(path: Path) -> str:
    with safe_open(path, "pt") as file:
        return str(json.loads(file.metadata()["said"])["objective"])


def test_the_least_recently_used_are_removed(model: Model, store: Store) -> None:
    stored(model, FIVE[:3], SETTINGS, store=store)
    size = files(store)[0].stat().st_size
    for path in files(store):
        age = FIVE.index(_objective(path))
        os.utime(path, (1000 - age, 1000 - age))
    assert find(model, FIVE[2], SETTINGS, store=store) is not None  # the oldest, but now it was used
    small = Store(store.folder, limit=3 * size + 200)
    stored(model, FIVE[3:4], SETTINGS, store=small)
    left = [find(model, objective, SETTINGS, store=store) is not None for objective in FIVE[:4]]
    assert left == [True, False, True, True]
    assert sum(path.stat().st_size for path in files(store)) <= small.limit


def test_what_killed_processes_left_goes_and_what_others_write_stays(model: Model, store: Store) -> None:
    store.folder.mkdir(parents=True)
    old, new = store.folder / ".old.safetensors.x", store.folder / ".new.safetensors.x"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    stored(model, FIVE[:1], SETTINGS, store=store)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_limit_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    assert default_store() == Store(tmp_path / "visualizations", 2 * 2**30)
    monkeypatch.setenv("XAI_VISUALIZATION_MB", "3")
    assert default_store().limit == 3 * 2**20
    monkeypatch.setenv("XAI_VISUALIZATION_MB", "much")
    with pytest.raises(ValueError, match="'much'; allowed are whole numbers"):
        default_store()


def test_a_caricature_is_kept_by_its_image(model: Model, store: Store, calls: list[list[str]]) -> None:
    images = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for image in (*images, *images):
        stored(model, ["caricature:layer1"], SETTINGS, image=image, store=store)
    assert len(calls) == 2


def test_an_unknown_channel_is_refused_before_anything_is_made(model: Model, store: Store) -> None:
    with pytest.raises(ExplanationError, match="the channel is 99"):
        stored(model, [FIVE[0], "channel:layer1:99"], SETTINGS, store=store)
    assert files(store) == []


def test_two_at_once_leave_whole_pictures(model: Model, store: Store) -> None:
    """Both make, write and remove the same files at the same time, as two processes would."""
    tight = Store(store.folder, limit=1)
    done: list[tuple[Kept, ...]] = []
    threads = [
        threading.Thread(target=lambda: done.append(stored(model, FIVE, SETTINGS, store=tight)))
        for _number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    for found in done[1:]:
        for one, other in zip(done[0], found, strict=True):
            assert torch.equal(one.image, other.image)
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(".")] == []
