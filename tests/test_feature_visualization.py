"""Feature visualisation: planted features are found, pictures are their own, and trouble is said."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.registry import Model
from tests.conftest import TinyModel
from tests.visualization_helpers import GABORS, gabor, gabor_model, small_model
from xai.attribution_types import ExplanationError
from xai.feature_visualization import Cancelled, Goal, Settings, Visualization, visualize
from xai.hooks import count_hooks, recorded
from xai.visualization_image import high_frequency, total_variation
from xai.visualization_objectives import likeness

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = tuple(f"channel:relu#1:{k}" for k in range(len(GABORS)))
"""After the ReLU: its mean is what a grating raises, while the mean of the convolution is zero for any grating."""
QUICK = Settings(steps=12, strip=0)


@pytest.fixture(scope="module")
def planted() -> Model:
    return gabor_model()


@pytest.fixture(scope="module")
def found(planted: Model) -> Visualization:
    """All channels, with free colours: decorrelated ones lean towards the dataset's on purpose."""
    return visualize(planted, TEXTS, Settings(steps=96, colours="none"))


@pytest.fixture(scope="module")
def tiny(tiny_model: TinyModel) -> Model:
    return tiny_model("resnet18_cifar", 16)


def activations(model: Model, layer: str, images: Tensor) -> Tensor:
    """The layer's output in the model's own network."""
    with torch.inference_mode(), recorded(model.network, [layer]) as outputs:
        model.network(images)
    return outputs[layer]


@pytest.mark.parametrize("channel", range(len(GABORS)))
def test_planted_frequency_orientation_and_colour_are_found(found: Visualization, channel: int) -> None:
    frequency, colour = GABORS[channel]
    axis = torch.tensor(colour) / torch.tensor(colour).norm()
    spectrum = middle_spectrum(found.images[channel])
    place = int(spectrum.abs().square().sum(0).argmax())
    peak = torch.stack([torch.fft.fftfreq(64)[place // 64], torch.fft.fftfreq(64)[place % 64]])
    wanted = torch.tensor(frequency)
    away = min(float((peak - wanted).norm()), float((peak + wanted).norm()))
    assert away < 1 / 16, f"the peak is at {peak}, further off than the window of 16 px resolves"
    amplitude = spectrum.flatten(1)[:, place]
    along = float((amplitude * axis).sum().abs() / amplitude.abs().norm())
    # where all three colours are at their limits, (-1, -1, 2) becomes (-1, -1, 1), which is 0.943 along it
    assert along > 0.93, f"{along:.3f} of the peak's colour is along the planted axis"


def middle_spectrum(picture: Tensor) -> Tensor:
    """Spectrum `(3, 64, 64)` of the middle half of a picture; towards its edge fewer and fewer cells see it."""
    middle = picture[:, 8:24, 8:24]
    hann = torch.hann_window(16, periodic=False)
    window = torch.outer(hann, hann)
    mean = (middle * window).sum((1, 2), keepdim=True) / window.sum()
    return torch.fft.fft2((middle - mean) * window, s=(64, 64))


def test_planted_features_differ_from_each_other(found: Visualization, planted: Model) -> None:
    """Each channel is excited most by its own picture, so the test above is not passed by one picture for all."""
    values = torch.relu(activations(planted, "conv", found.images)).mean((2, 3))
    assert values.argmax(1).tolist() == list(range(len(GABORS)))


def test_same_seed_same_picture_and_another_seed_another(tiny: Model) -> None:
    first, again = (visualize(tiny, ["channel:layer2:3"], QUICK) for _ in range(2))
    other = visualize(tiny, ["channel:layer2:3"], replace(QUICK, seed=1))
    assert torch.equal(first.images, again.images)
    assert float((first.images - other.images).abs().mean()) > 0.01


def test_a_picture_does_not_depend_on_the_others(tiny: Model) -> None:
    texts = [f"channel:layer2:{k}" for k in range(5)] + ["class:2"]
    together = visualize(tiny, texts, QUICK)
    for text in (texts[3], texts[5]):
        alone = visualize(tiny, [text], QUICK)
        assert torch.allclose(alone.images[0], together.images[texts.index(text)], atol=2e-3)
    assert torch.allclose(visualize(tiny, texts, replace(QUICK, batch=2)).images, together.images, atol=2e-3)


def test_a_text_given_twice_makes_two_pictures_and_the_first_is_the_single_one(tiny: Model) -> None:
    both = visualize(tiny, ["channel:layer2:3"] * 2, QUICK)
    alone = visualize(tiny, ["channel:layer2:3"], QUICK)
    assert torch.allclose(both.images[0], alone.images[0], atol=2e-3)
    assert float((both.images[0] - both.images[1]).abs().mean()) > 0.01


def test_values_are_those_of_the_finished_pictures(tiny: Model) -> None:
    made = visualize(
        tiny, ["channel:layer2:3", "unit:layer3:1:0,1", "class:class 4"], replace(QUICK, total_variation=1.0)
    )
    assert float(made.values[0]) == pytest.approx(
        float(activations(tiny, "layer2", made.images)[0, 3].mean()), rel=1e-4
    )
    assert float(made.values[1]) == pytest.approx(
        float(activations(tiny, "layer3", made.images)[1, 1, 0, 1]), rel=1e-4
    )
    assert float(made.values[2]) == pytest.approx(float(tiny.network(made.images)[2, 4]), rel=1e-4)


def test_the_value_grows_along_the_strip(planted: Model, found: Visualization) -> None:
    assert found.strip_steps == (0, 6, 12, 24, 48, 96)
    assert torch.equal(found.strip[:, -1], found.images)
    values = [
        torch.relu(activations(planted, "conv", found.strip[:, t]))[0, 0].mean().item() for t in (0, 2, 5)
    ]
    assert values[0] < values[1] < values[2]


def test_penalties_and_diversity_lower_what_they_name(tiny: Model) -> None:
    text = ["channel:layer1:2"] * 3
    settings = replace(QUICK, steps=100)
    usual = visualize(tiny, text, settings)
    smooth = visualize(tiny, text, replace(settings, total_variation=5.0)).images
    assert float(total_variation(smooth).mean()) < 0.8 * float(total_variation(usual.images).mean())
    low = visualize(tiny, text, replace(settings, high_frequency=10.0)).images
    assert float(high_frequency(low).mean()) < 0.8 * float(high_frequency(usual.images).mean())
    spread = visualize(tiny, text, replace(settings, diversity=3.0)).images
    before, after = (
        float(likeness(activations(tiny, "layer1", one)).mean()) for one in (usual.images, spread)
    )
    assert after < before - 0.01


def test_progress_shows_the_pictures_grow_and_the_lock_is_free(tiny: Model) -> None:
    calls: list[tuple[int, int, Tensor]] = []
    free: list[bool] = []

    def elsewhere() -> None:
        free.append(tiny.lock.acquire(timeout=5))
        tiny.lock.release()

    def progress(done: int, total: int, pictures: Tensor) -> None:
        calls.append((done, total, pictures.clone()))
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()

    made = visualize(
        tiny, ["channel:layer2:0", "channel:layer2:1"], replace(QUICK, batch=1), progress=progress
    )
    assert free
    assert all(free)
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert calls[-1][0] == calls[-1][1]
    assert bool((calls[0][2][1] == 0.5).all()), "the second picture waits as grey"
    assert torch.allclose(calls[-1][2][0], made.images[0])


def test_cancelling_stops_at_once_and_leaves_the_network_as_it_was(tiny: Model) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(Cancelled):
        visualize(tiny, ["channel:layer2:0"], QUICK, cancelled=cancelled)
    assert len(asked) == 3
    assert count_hooks(tiny.network) == 0
    assert not any(weight.requires_grad for weight in tiny.network.parameters())


def test_caricature_exaggerates_the_image(tiny: Model) -> None:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    made = visualize(tiny, ["caricature:layer2:1"], replace(QUICK, steps=60), image=image)
    own, maps = (activations(tiny, "layer2", one).flatten() for one in (image, made.images))
    product = float(own @ maps / own.square().sum())
    assert float(made.values[0]) == pytest.approx(
        product * float(torch.cosine_similarity(own, maps, 0)), rel=1e-3
    )
    assert float(made.values[0]) > 1, "more excited than the image itself"


def test_a_goal_of_ones_own(planted: Model) -> None:
    """Any function of activations and images will do: here, the darkest picture."""
    goal = Goal("dark", ("conv",), lambda _activations, images: -images.mean((1, 2, 3)))
    made = visualize(planted, [goal], Settings(steps=60, colours="none", transforms="none"))
    assert made.objectives == ("dark",)
    assert float(made.images.mean()) < 0.2


def test_a_dead_channel_is_given_up_with_a_sentence_and_the_others_are_not_touched() -> None:
    weight = torch.stack([gabor(*GABORS[0]), torch.zeros(3, 15, 15), gabor(*GABORS[1])])
    model = small_model(weight, torch.tensor([0.0, -1.0, 0.0]))
    made = visualize(model, [f"channel:relu#1:{k}" for k in range(3)], replace(QUICK, steps=40))
    assert made.notes[0] == made.notes[2] == ""
    assert made.notes[1] == (
        "channel:relu#1:1 stayed at 0 from 3 seeds; it is dead or very rarely active, and was given up."
    )
    assert made.values[1] == 0


def test_a_channel_that_is_no_number_is_said_and_the_others_are_not_touched() -> None:
    weight = torch.stack([gabor(*GABORS[0]), gabor(*GABORS[1])])
    texts, broken = ["channel:conv:0", "channel:conv:1"], torch.tensor([0.0, float("nan")])
    whole, half = (visualize(small_model(weight, bias), texts, QUICK) for bias in (None, broken))
    assert torch.allclose(whole.images[0], half.images[0], atol=2e-3)
    assert half.notes[0] == ""
    assert "gives nan" in half.notes[1]
    assert bool(half.images.isfinite().all())


def test_weights_that_are_no_numbers_leave_no_gradient_and_that_is_said() -> None:
    weight = torch.stack([gabor(*GABORS[0]), torch.full((3, 15, 15), float("nan"))])
    made = visualize(small_model(weight), ["channel:conv:0"], QUICK)
    assert made.notes == (
        "channel:conv:0 has no gradient to follow in pictures from 3 seeds; it was given up.",
    )
    assert bool(made.images.isfinite().all())


def test_a_silent_channel_is_woken() -> None:
    """On every start the channel is zero and has no gradient; a grating excites it."""
    model = small_model(gabor(*GABORS[1])[None], torch.tensor([-1.0]))
    start = visualize(model, ["channel:relu#1:0"], Settings(steps=1, starts=1, learning_rate=1e-6)).images
    assert float(torch.relu(activations(model, "conv", start)).max()) == 0
    made = visualize(model, ["channel:relu#1:0"], Settings(steps=96, starts=1, strip=0))
    assert float(made.values[0]) > 0.1


def test_each_call_of_a_layer_and_what_gives_no_maps(planted: Model) -> None:
    first, second = visualize(planted, ["channel:relu#1:0", "channel:relu#2:0"], QUICK).images.unsqueeze(1)
    maps = torch.relu(activations(planted, "conv", torch.cat([first, second])))
    made = visualize(planted, ["channel:relu:0", "channel:relu#2:0"], QUICK)
    expected = torch.relu(torch.relu(activations(planted, "conv", made.images)) / 2 - 0.01)[1, 0].mean()
    assert maps.shape[0] == 2
    assert float(made.values[1]) == pytest.approx(float(expected), rel=1e-4)
    with pytest.raises(ExplanationError, match="calls the layer 'relu' 2 times; call 3 was asked for"):
        visualize(planted, ["channel:relu#3:0"], QUICK)
    with pytest.raises(ExplanationError, match="the output of layer 'pair' is tuple, not a feature map"):
        visualize(planted, ["channel:pair:0"], QUICK)


def test_a_flat_vector_is_a_grid_of_one_cell(planted: Model) -> None:
    made = visualize(planted, ["channel:fc:1", "unit:fc:1", "class:b"], QUICK)
    assert torch.allclose(made.values, planted.network(made.images)[:, 1])


def test_settings_are_json_and_say_what_is_allowed(tiny: Model) -> None:
    settings = Settings(steps=7, seed=3)
    assert Settings(**json.loads(json.dumps(settings.to_json()))) == settings
    resolved = settings.resolved(tiny)
    assert (resolved.size, resolved.transforms) == (16, "small")
    for wrong, words in (
        ({"size": 2}, "size is 2; allowed are 8 to 1024 px"),
        ({"steps": 0}, "steps is 0"),
        ({"transforms": "wild"}, "transforms is 'wild'; allowed are auto, none, small, medium, large"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"diversity": -1.0}, "diversity is -1.0"),
    ):
        with pytest.raises(ExplanationError, match=words):
            Settings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ExplanationError, match="no objective"):
        visualize(tiny, [])


def test_unknown_colours_are_said_and_a_strange_dataset_takes_imagenets(tiny: Model) -> None:
    assert tiny.card.dataset == "none"
    assert visualize(tiny, ["class:0"], QUICK).remarks == (
        "Colours of none were not measured; ImageNet's are used.",
    )
    with pytest.raises(ValueError, match="colours is 'mauve'; allowed are dataset, none"):
        visualize(tiny, ["class:0"], replace(QUICK, colours="mauve"))


CHILD = """
import gc, resource, torch
torch.set_num_threads(1)
from tests.conftest import make_tiny_model
from xai.feature_visualization import Cancelled, Settings, visualize
model = make_tiny_model("resnet18_cifar", 32)
texts = [f"channel:layer3:{k}" for k in range(16)]
steps = []
def stop():
    steps.append(1)
    return len(steps) % 7 == 0
def once(stopped):
    try:
        visualize(model, texts, Settings(steps=6, seed=len(steps)), cancelled=stop if stopped else None)
    except Cancelled:
        pass
def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
for number in range(3):
    once(number % 2)
before = resident()
for number in range(20):
    once(number % 2)
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_twenty_runs_do_not_grow_the_process() -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 100, f"{done.stdout.strip()} MB more"
