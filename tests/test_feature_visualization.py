"""Feature visualisation: planted features are found, pictures are their own, and trouble is said."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models import zoo
from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Odd, wrap
from tests.visualization_helpers import GABORS, gabor, gabor_model, small_model
from xai.attribution_types import ExplanationError
from xai.feature_visualization import Cancelled, Goal, Settings, Visualization, visualize
from xai.hooks import count_hooks, recorded
from xai.visualization_image import high_frequency, total_variation
from xai.visualization_network import PrivateNetwork
from xai.visualization_objectives import Readout, direction, likeness, parse_objective

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


@pytest.fixture(scope="module")
def shipped() -> Model:
    """A trained network of usual width: the kernels of its layers differ with the number of images."""
    return zoo.load("resnet18_cifar-w16-cue10-s0")


def test_a_picture_does_not_depend_on_the_others(shipped: Model) -> None:
    """To the bit: what is kept may be made alone, and asked for beside others."""
    settings = Settings(steps=6, starts=1, strip=2)
    texts = [*(f"channel:layer3:{k}" for k in range(3)), *(f"class:{k}" for k in range(3))]
    together = visualize(shipped, texts, settings)
    for row in (2, 5):
        alone = visualize(shipped, texts[row : row + 1], settings)
        assert torch.equal(alone.images[0], together.images[row])
        assert torch.equal(alone.values[0], together.values[row])
        assert torch.equal(alone.strip[0], together.strip[row])
    for batch in (1, 4):  # ones, and four with a pair left over
        parts = visualize(shipped, texts, replace(settings, batch=batch))
        assert torch.equal(parts.images, together.images)


@pytest.mark.parametrize("name", ["alexnet", "resnet18_cifar"])
def test_what_a_network_makes_of_a_picture_does_not_depend_on_how_many_there_are(
    name: str, tiny_model: TinyModel
) -> None:
    """Linear layers of any width: matrices of few rows are multiplied by other kernels."""
    model = tiny_model(name, 32, num_classes=100, **({"hidden": 512} if name == "alexnet" else {}))
    network = PrivateNetwork(model, ["output"])
    images = torch.rand(17, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    every = network.run(images)["output"]
    for count in (2, 3, 7, 8, 9, 16):
        assert torch.equal(network.run(images[:count])["output"], every[:count])


def test_a_lone_picture_has_no_copies_to_differ_from(tiny: Model) -> None:
    """It is made beside itself; diversity must not drive the two apart."""
    usual, diverse = (visualize(tiny, ["class:2"], replace(QUICK, diversity=d)).images for d in (0.0, 9.0))
    assert torch.equal(usual, diverse)


def test_a_text_given_twice_makes_two_pictures_and_the_first_is_the_single_one(tiny: Model) -> None:
    both = visualize(tiny, ["channel:layer2:3"] * 2, QUICK)
    alone = visualize(tiny, ["channel:layer2:3"], QUICK)
    assert torch.equal(both.images[0], alone.images[0])
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
    settings = replace(QUICK, steps=60)
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
        "channel:relu:1 stayed at 0 from 3 seeds; it is dead or very rarely active, and was given up."
    )
    assert made.values[1] == 0


def test_a_channel_that_is_no_number_is_said_and_the_others_are_not_touched() -> None:
    weight = torch.stack([gabor(*GABORS[0]), gabor(*GABORS[1])])
    texts, broken = ["channel:conv:0", "channel:conv:1"], torch.tensor([0.0, float("nan")])
    whole, half = (visualize(small_model(weight, bias), texts, QUICK) for bias in (None, broken))
    assert torch.equal(whole.images[0], half.images[0])
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


def test_each_call_of_a_layer(planted: Model) -> None:
    made = visualize(planted, ["channel:relu:0", "channel:relu#2:0"], QUICK)
    expected = torch.relu(torch.relu(activations(planted, "conv", made.images)) / 2 - 0.01)[1, 0].mean()
    assert float(made.values[1]) == pytest.approx(float(expected), rel=1e-4)
    with pytest.raises(ExplanationError, match="calls the layer 'relu' 2 times; call 3 was asked for"):
        visualize(planted, ["channel:relu#3:0"], QUICK)


@pytest.mark.parametrize(
    ("make", "take"),
    [
        (lambda maps: (1, maps.sin(), maps), lambda given: given[1]),
        (lambda maps: {"other": 1, "maps": maps.sin()}, lambda given: given["maps"]),
    ],
)
def test_of_several_tensors_the_first_is_looked_at(make: Any, take: Any) -> None:
    """What comes after still gets all that the layer gives; the peer gives the maps alone."""
    models = [wrap(Odd(make, take), 16), wrap(Odd(torch.sin, lambda maps: maps), 16)]
    wanted = ["channel:odd:0", "class:1"]
    made, peer = (visualize(model, wanted, QUICK) for model in models)
    assert torch.equal(made.images, peer.images)
    assert torch.equal(made.values, peer.values)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda maps: {"maps": 1}, "is a dict without a tensor, not a feature map"),
        (lambda maps: maps.flatten(2), r"is a tensor of shape \(1, 3, 256\), not a feature map"),
    ],
)
def test_what_gives_no_maps_is_refused(make: Any, words: str) -> None:
    model = wrap(Odd(make, lambda _given: torch.zeros(1, 3, 2, 2)), 16)
    with pytest.raises(ExplanationError, match=words):
        visualize(model, ["channel:odd:0"], QUICK)


def test_a_flat_vector_is_a_grid_of_one_cell(planted: Model) -> None:
    made = visualize(planted, ["channel:fc:1", "unit:fc:1", "class:b"], QUICK)
    assert torch.allclose(made.values, planted.network(made.images)[:, 1])


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (("channel:conv:2", "channel:conv#1:02"), "channel:conv:2"),
        (("channel:relu#2:1", "channel:relu#02:1"), "channel:relu#2:1"),
        (("unit:conv:01", "unit:conv#1:1:9,9", "unit:conv:1:09,9"), "unit:conv:1:9,9"),
        (("class:1", "class:b"), "class:b"),
        (("mix:conv:2+1", "mix:conv:1*1+2*1.0", "mix:conv:2*0.5+1+2*.5+3*0"), "mix:conv:1+2"),
        (
            ("mix:conv:1*-1e-3+0*1e20", "mix:conv#1:0*100000000000000000000+1*-.001"),
            "mix:conv:0*1e20+1*-0.001",
        ),
        (("direction:conv:1,0.1,-0,2e0", "direction:conv:1.0,1e-1,0,2"), "direction:conv:1,0.1,0,2"),
    ],
)
def test_an_objective_has_one_text(planted: Model, texts: tuple[str, ...], name: str) -> None:
    """So that it has one seed and is kept once."""
    goals = [parse_objective(text, planted) for text in (*texts, name)]
    assert [goal.text for goal in goals] == [name] * len(goals)
    readouts = [goal.objective for goal in goals if isinstance(goal.objective, Readout)]
    assert len(readouts) == len(goals)
    assert all(torch.equal(readout.weights, readouts[0].weights) for readout in readouts)


def test_a_direction_comes_again_from_its_text(planted: Model) -> None:
    vector = torch.randn(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for scale in (1.0, 1e-30, 1e30):
        goal = direction(planted, "conv", scale * vector, 32)
        again = parse_objective(goal.text, planted)
        assert again.text == goal.text
        assert isinstance(goal.objective, Readout)
        assert isinstance(again.objective, Readout)
        assert torch.equal(goal.objective.weights, again.objective.weights)
        expected = (vector / vector.norm()).float()
        torch.testing.assert_close(goal.objective.weights, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("channel:conv:²", "the channel is '²'; it must be a whole number"),
        ("channel:conv:" + 5_000 * "9", "the channel is '9{40}'"),
        ("channel:conv#²:0", "no layer 'conv#²'"),
        ("channel:conv#" + 5_000 * "9" + ":0", "no layer"),
        ("unit:conv:0:²,1", "the cell is"),
        ("class:²", "the class is '²'"),
        ("mix:conv:0*0", "the mix of channels of conv is zero in every channel"),
        ("direction:conv:1,1e300,0,0", "beyond single precision"),
    ],
)
def test_texts_that_can_not_be_read(planted: Model, text: str, words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        parse_objective(text, planted)


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
        ({"frequency_decay": 5}, "frequency_decay is 5; allowed is 0 to 4"),
        ({"seed": -1}, r"seed is -1; allowed is 0 to 2\*\*63 - 1"),
        ({"seed": None}, "seed is None; it must be a whole number"),
        ({"size": 8.0}, "size is 8.0; it must be a whole number, or None"),
        ({"steps": True}, "steps is True; it must be a whole number"),
        ({"strip": 2.5}, "strip is 2.5; it must be a whole number"),
        ({"batch": 1.5}, "batch is 1.5; it must be a whole number, or None"),
        ({"contrast": "1"}, "contrast is '1'; it must be a number"),
        ({"colours": ["x"]}, r"colours is \['x'\]; it must be a text"),
    ):
        with pytest.raises(ExplanationError, match=words):
            Settings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ExplanationError, match="no objective"):
        visualize(tiny, [])
    with pytest.raises(ExplanationError, match="3,000 pictures of 1024 px with 6 steps each were asked for"):
        visualize(tiny, ["class:0"] * 3_000, Settings(size=1024))
    assert repr(Settings(contrast=1)) == repr(Settings(contrast=1.0)), "else they would be kept apart"


def test_the_steepest_decay_gives_pictures(tiny: Model) -> None:
    for size in (16, 512):
        made = visualize(tiny, ["channel:conv1:0"], Settings(size=size, frequency_decay=4, steps=2, starts=1))
        assert bool(made.images.isfinite().all())


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
