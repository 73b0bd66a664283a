"""Answers and maps of a comparison: those that single calls give, from as few passes as that takes, kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.datasets import ImageSet
from models.registry import Model
from tests.explain_helpers import make_model
from xai import passes
from xai.attribution import ExplanationError, explain_all_cams
from xai.compare import bench, maps_store, shown
from xai.compare import maps as heatmaps
from xai.compare.bench import Bench
from xai.compare.maps import Maps
from xai.compare.study import Study
from xai.evaluation import Cancelled
from xai.evaluation_store import data_sha256
from xai.hooks import count_hooks
from xai.results import UNTOUCHED, Condition

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = ("gradcam", "hirescam", "layercam", "eigencam")
NOISY = Condition("gaussian_noise", "paper-relative", 2.0)
COUNT, BATCH = 30, 12


def images() -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), generator=generator, dtype=torch.uint8)
    classes = (*(f"class {9 - k}" for k in range(10)), "unheard of")
    return ImageSet(
        "noise", "test", pixels, torch.arange(COUNT) % 11, classes, tuple(f"n{k}" for k in range(COUNT))
    )


DATA = images()


@pytest.fixture(scope="module", params=["alexnet", "resnet18_cifar"])
def model(request: pytest.FixtureRequest) -> Model:
    return make_model(request.param, 32, **({"hidden": 32} if request.param == "alexnet" else {"width": 8}))


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small batches, and a cache of its own."""
    monkeypatch.setattr(shown, "forward_batch_size", lambda _images, _device: BATCH)
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))


@pytest.fixture
def passes_made(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How often the network ran forward and backward."""
    made, gradient = {"forward": 0, "backward": 0}, torch.autograd.grad

    def counted(*given: Any, **options: Any) -> Any:
        made["backward"] += 1
        return gradient(*given, **options)

    def hook(*_given: Any) -> None:
        made["forward"] += 1

    monkeypatch.setattr(torch.autograd, "grad", counted)
    handle = model.network.register_forward_pre_hook(hook)
    yield made
    handle.remove()


def pixels(model: Model, condition: Condition) -> torch.Tensor:
    cell = passes.cell_of(model, DATA, condition.degradation, condition.scale, condition.severity, 0)
    return passes.degraded_batch(DATA, cell, slice(0, COUNT), model.device)


def assert_maps(
    model: Model, found: dict[str, np.ndarray], condition: Condition, targets: np.ndarray
) -> None:
    wanted = explain_all_cams(
        model, pixels(model, condition), METHODS, targets=torch.from_numpy(targets), layers=[model.stages[-1]]
    )
    assert list(found) == list(METHODS)
    for name, heatmap in wanted.items():
        scale = float(heatmap.values.abs().max())
        assert scale > 0
        np.testing.assert_allclose(found[name], heatmap.values.numpy(), atol=1e-5 * scale)


def computed(model: Model, condition: Condition, **options: Any) -> Maps:
    return heatmaps.compute(model, DATA, condition, layer=model.stages[-1], methods=METHODS, **options)


@pytest.mark.parametrize("condition", [UNTOUCHED, NOISY], ids=["clean", "noisy"])
def test_maps_for_what_is_predicted_take_one_pass_of_each_kind(
    model: Model, condition: Condition, passes_made: dict[str, int]
) -> None:
    found = computed(model, condition)
    assert passes_made == {"forward": 3, "backward": 3}
    with torch.no_grad():
        logits = model.network.eval()(pixels(model, condition))
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-4)
    assert (found.predicted == logits.argmax(1).numpy()).all()
    assert (found.targets == found.predicted).all()
    assert all(found.for_predicted[name] is found.maps[name] for name in METHODS)
    assert_maps(model, found.maps, condition, found.predicted)
    assert found.probabilities.sum(axis=1) == pytest.approx(1)


def test_maps_for_other_classes_take_one_more_backward_pass_where_the_prediction_differs(
    model: Model, passes_made: dict[str, int]
) -> None:
    predicted = computed(model, NOISY).predicted
    targets = predicted.copy()
    targets[[2, 5, 7]] = (targets[[2, 5, 7]] + 3) % 10  # all in the first of three batches
    passes_made.update(forward=0, backward=0)
    found = computed(model, NOISY, targets=targets)
    assert passes_made == {"forward": 3, "backward": 4}
    assert_maps(model, found.maps, NOISY, targets)
    assert_maps(model, found.for_predicted, NOISY, predicted)
    changed = (found.maps["hirescam"] != found.for_predicted["hirescam"]).any(axis=(1, 2))
    assert np.flatnonzero(changed).tolist() == [2, 5, 7]


def test_labels_are_the_network_s_own_numbers(model: Model) -> None:
    found = heatmaps.labels_of(model, DATA)
    assert found[:11].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1]


def test_the_network_is_as_it_was(model: Model) -> None:
    model.network.train()
    state = [weight.requires_grad for weight in model.network.parameters()]
    try:
        computed(model, UNTOUCHED)
        with pytest.raises(ExplanationError):
            heatmaps.compute(model, DATA, layer=_first_linear(model))
        assert count_hooks(model.network) == 0
        assert model.network.training
        assert [weight.requires_grad for weight in model.network.parameters()] == state
        assert not model.lock._is_owned()  # type: ignore[attr-defined]
    finally:
        model.network.eval()


def _first_linear(model: Model) -> str:
    """A layer without a feature map."""
    return next(name for name, module in model.network.named_modules() if isinstance(module, torch.nn.Linear))


WRONG = {
    "too high": (np.full(COUNT, 10), "class 10 does not exist"),
    "negative": (np.full(COUNT, -1), "class -1 does not exist"),
    "too few": (np.zeros(COUNT - 1, np.int64), "one for each of 30 images"),
    "no classes": (np.zeros(COUNT), "whole numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_targets_are_refused_in_one_sentence(model: Model, name: str) -> None:
    targets, words = WRONG[name]
    for make in (computed, lambda *given, **options: stored(*given, **options)):
        with pytest.raises(ExplanationError, match=words) as caught:
            make(model, NOISY, targets=targets)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")


@pytest.mark.parametrize("options", [{"methods": ("occlusion",)}, {"methods": ()}, {"layer": "nowhere"}])
def test_other_methods_and_layers_are_refused_in_one_sentence(model: Model, options: dict[str, Any]) -> None:
    with pytest.raises(ExplanationError) as caught:
        heatmaps.compute(model, DATA, **options)
    assert str(caught.value).count(".") <= 2
    assert "\n" not in str(caught.value)


def test_cancelling_ends_the_pass_between_batches(model: Model) -> None:
    asked: list[int] = []

    def told(done: int, total: int, what: str) -> None:
        assert total == COUNT
        assert what.endswith("Gaussian noise, medium")
        asked.append(done)

    with pytest.raises(Cancelled):
        computed(model, NOISY, progress=told, cancelled=lambda: len(asked) == 2)
    assert asked == [0, BATCH]
    assert count_hooks(model.network) == 0


# On disk


def stored(model: Model, condition: Condition, **options: Any) -> Maps:
    settings = {"layer": model.stages[-1], "methods": METHODS, **options}
    return maps_store.stored(model, DATA, condition, data_sha256(DATA), **settings)


def assert_same(one: Maps, other: Maps) -> None:
    for name in ("targets", "predicted", "logits", "labels"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in METHODS:
        assert np.array_equal(one.maps[name], other.maps[name])
        assert np.array_equal(one.for_predicted[name], other.for_predicted[name])


def test_what_was_computed_is_read_again(model: Model, passes_made: dict[str, int]) -> None:
    targets = np.arange(COUNT) % 10
    first = stored(model, NOISY, targets=targets)
    passes_made.update(forward=0, backward=0)
    assert_same(stored(model, NOISY, targets=targets), first)
    assert passes_made["forward"] == 0
    assert_same(first, computed(model, NOISY, targets=targets))


CHANGES: dict[str, dict[str, Any]] = {
    "targets": {"targets": np.zeros(COUNT, np.int64)},
    "seed": {"seed": 1},
    "methods": {"methods": METHODS[:2]},
    "layer": {"layer": "other"},
    "predicted": {"targets": None},
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_question_has_another_file(model: Model, name: str, passes_made: dict[str, int]) -> None:
    asked = {"targets": np.arange(COUNT) % 10}
    stored(model, NOISY, **asked)
    passes_made.update(forward=0, backward=0)
    changes = CHANGES[name]
    if name == "layer":
        changes = {"layer": model.stages[-2]}
    stored(model, NOISY, **(asked | changes))
    assert passes_made["forward"] == 3


def test_other_weights_and_versions_have_other_files(
    model: Model, passes_made: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(model, NOISY)
    weight = next(model.network.parameters())
    with torch.no_grad():
        weight.mul_(1.5)
    try:
        passes_made.update(forward=0)
        stored(model, NOISY)
        assert passes_made["forward"] == 3
    finally:
        with torch.no_grad():
            weight.div_(1.5)
    monkeypatch.setattr(maps_store, "ALGORITHM", maps_store.ALGORITHM + 1)
    passes_made.update(forward=0)
    stored(model, NOISY)
    assert passes_made["forward"] == 3


def _only_file() -> Path:
    (path,) = maps_store.folder().rglob("*.safetensors")
    return path


@pytest.mark.parametrize("harm", ["empty", "cut", "one bit", "folder"])
def test_damaged_files_are_made_again(model: Model, harm: str) -> None:
    first = stored(model, NOISY)
    path = _only_file()
    content = bytearray(path.read_bytes())
    if harm == "one bit":
        content[-5] ^= 1
    if harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {"empty": b"", "cut": content[: len(content) // 2]}.get(harm, content)  # type: ignore[arg-type]
        )
    assert_same(stored(model, NOISY), first)
    assert_same(stored(model, NOISY), first)


def test_nothing_breaks_where_nothing_can_be_written(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "file"))
    assert_same(stored(model, NOISY), computed(model, NOISY))


def test_what_was_used_longest_ago_goes_first(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(model, NOISY)
    first = _only_file()
    monkeypatch.setattr(maps_store, "LIMIT", int(2.5 * first.stat().st_size))
    for seed in (1, 2):
        stored(model, NOISY, seed=seed)
    assert not first.exists()
    assert len(list(maps_store.folder().rglob("*.safetensors"))) == 2


# Two networks together


def _two(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Bench, list[str]]:
    """A bench of two untrained networks, and the conditions for which images were made."""
    loaded = {name: make_model("alexnet", 32, seed, hidden=32) for seed, name in enumerate("ab")}
    for name, each in loaded.items():
        each.name = name
    made: list[str] = []
    degraded = passes.degraded_batch

    def counted(data: Any, cell: Any, rows: slice, device: Any) -> Any:
        made.append(cell.condition)
        return degraded(data, cell, rows, device)

    monkeypatch.setattr(passes, "degraded_batch", counted)
    study = Study(("a", "b"), "noise", limit=None, degradations=("gaussian_noise",), scale="paper-relative")
    made_of: dict[str, Any] = {"load": loaded.__getitem__, "cards": dict, "opened": lambda *_given: DATA}
    return Bench(study, **made_of, **options), made


@pytest.mark.parametrize("keep", [True, False])
def test_images_are_degraded_once_for_both(monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    one, made = _two(monkeypatch, keep_maps=keep)
    found = one.maps(one.models[0], NOISY)
    other = one.maps(one.models[1], NOISY)
    assert made == ["clean"] * 3 + ["gaussian_noise 2"] * 3
    assert one.maps(one.models[0], NOISY) is found
    for model, maps in zip(one.models, (found, other), strict=True):
        clean = one.maps(model)
        assert (maps.targets == clean.predicted).all()
        assert set(maps.maps) == set(bench.METHODS)
    assert (found.logits != other.logits).any()
    assert len(made) == 6


def test_a_bench_goes_on_with_what_another_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = _two(monkeypatch)
    first = [before.maps(model, NOISY) for model in before.models]
    after, made = _two(monkeypatch)
    for model, maps in zip(after.models, first, strict=True):
        assert np.array_equal(after.maps(model, NOISY).maps["gradcam"], maps.maps["gradcam"])
    assert made == []


def test_images_that_outgrow_the_limit_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one, made = _two(monkeypatch, keep_maps=False)
    one._shown.limit = 12 * 3 * 32 * 32 * 4  # one batch
    one.maps(one.models[0])
    assert made == ["clean"] * 5
