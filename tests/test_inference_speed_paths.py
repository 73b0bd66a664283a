"""The quick ways of degrading and of asking a network give what the plain ways give."""

from __future__ import annotations

import gc
import hashlib
import io
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from data import cue10, degradation_scene, degradation_seeds
from data.catalogue import load_dataset
from data.degradation_filters import border_index, gaussian_taps
from data.degradation_registry import image_generator
from data.degradation_seeds import image_generators
from data.degradations import degrade, max_severity, parameters
from models import zoo
from tests.conftest import TinyModel
from xai import evaluation, packing
from xai.folding import folded
from xai.packing import logits, packed

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = ("alexnet-cue10-s0", "resnet18-cue10-s0", "resnet18_cifar-w16-cue10-s0")
PACKED = ("alexnet", "alexnet_bn", "alexnet_lrn", "resnet18", "resnet50_cifar", "resnext50", "vgg16_bn")
LEFT_ALONE = ("alexnet_cbam", "se_resnet50", "vit_small")
SHAPES = [(3, 1, 1), (2, 3, 40), (25, 32, 32), (45, 64, 64), (2, 33, 47), (2, 224, 224)]
"""Images, height and width; with some, more images than are done at a time, or than are seeded one by one."""


# Random numbers


@pytest.mark.parametrize("count", [1, 19, 20, 50])
def test_seeds_of_a_batch_are_those_of_its_images(count: int) -> None:
    ids = [f'test/é "{k}"\\\n' for k in range(count)]
    together = image_generators(3, ids, "snow", 2.5)
    for image, generator in zip(ids, together, strict=True):
        alone = image_generator(3, image, "snow", 2.5)
        assert generator.bit_generator.state == alone.bit_generator.state


def test_a_hash_that_begins_with_zeros_is_a_shorter_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hash:
        def __init__(self, text: bytes) -> None:
            self.text = text

        def digest(self) -> bytes:
            return bytes(4) + bytes(range(len(self.text) % 7, len(self.text) % 7 + 28))

    monkeypatch.setattr(hashlib, "sha256", Hash)
    ids = ["x" * (k % 7) for k in range(30)]
    for image, generator in zip(ids, image_generators(0, ids, "snow", 1), strict=True):
        assert generator.bit_generator.state == image_generator(0, image, "snow", 1).bit_generator.state


def test_what_is_spread_is_what_numpy_makes_of_a_seed() -> None:
    numbers = [1 << 255, (1 << 256) - 1, 0x0123456789ABCDEF << 192 | 77]
    words = np.array([[number >> 32 * k & 0xFFFFFFFF for number in numbers] for k in range(8)], np.uint32)
    for state, number in zip(degradation_seeds.spread(words).T, numbers, strict=True):
        assert state.tolist() == np.random.SeedSequence(number).generate_state(4, np.uint64).tolist()


# Pixels, computed as they were at version 1 of these degradations: whole batches, step by step


def _draws(
    ids: list[str], name: str, severity: float, draw: Callable[[np.random.Generator], np.ndarray]
) -> Tensor:
    return torch.from_numpy(np.stack([draw(image_generator(0, image, name, severity)) for image in ids]))


def _gaussian_noise(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    shape = images.shape[1:]
    field = _draws(ids, "gaussian_noise", severity, lambda rng: rng.standard_normal(shape, dtype=np.float32))
    return images + field.mul_(values["sigma"])


def _speckle_noise(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    shape = images.shape[1:]
    field = _draws(ids, "speckle_noise", severity, lambda rng: rng.standard_normal(shape, dtype=np.float32))
    return images + field.mul_(values["sigma"]).mul_(images)


def _impulse_noise(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    shape, amount = images.shape[1:], values["amount"]
    draw = _draws(ids, "impulse_noise", severity, lambda rng: rng.random(shape, dtype=np.float32))
    return images.masked_fill(draw < amount, 1.0).masked_fill(draw < amount / 2, 0.0)


def _shot_noise(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    means = iter(images.double().numpy() * values["rate"])
    return _draws(ids, "shot_noise", severity, lambda rng: rng.poisson(next(means)) / values["rate"]).to(
        torch.float32
    )


def _gaussian_blur(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    cut = "kernel" in values
    radius = int(values["kernel"]) // 2 if cut else int(4 * values["sigma"] + 0.5)
    taps = gaussian_taps(values["sigma"], radius)
    for dim in (-2, -1):
        size, reach = images.shape[dim], len(taps) - 1
        positions = border_index(
            torch.arange(-reach, size + reach), size, "reflect101" if cut else "replicate"
        )
        padded = images.index_select(dim, positions)
        images = padded.narrow(dim, reach, size) * taps[0]
        for distance in range(1, reach + 1):
            sides = padded.narrow(dim, reach - distance, size) + padded.narrow(dim, reach + distance, size)
            images = images + sides * taps[distance]
    return images


def _pixelate(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    sizes = images.shape[-2:]
    low = [max(1, int(size * values["factor"])) for size in sizes]
    for dim, size in zip((-2, -1, -2, -1), (*low, *sizes), strict=True):
        images = _resized(images, dim, size)
    return images


def _resized(images: Tensor, dim: int, target: int) -> Tensor:
    """Means over Pillow's windows, summed from the first pixel on."""
    size, made = images.shape[dim], []
    reach = 0.5 * max(1.0, size / target)
    for position in range(target):
        centre = (position + 0.5) * size / target
        window = [pixel for pixel in range(size) if -reach < pixel + 0.5 - centre <= reach]
        parts = [images.select(dim, pixel) * (1 / len(window)) for pixel in window]
        made.append(sum(parts[1:], parts[0]))
    return torch.stack(made, dim=dim)


def _jpeg_compression(images: Tensor, ids: list[str], severity: float, values: dict[str, float]) -> Tensor:
    decoded = []
    for pixels in (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=int(values["quality"]), subsampling="4:2:0")
        decoded.append(np.array(Image.open(stream)))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255


PLAIN = {
    "gaussian_noise": _gaussian_noise,
    "speckle_noise": _speckle_noise,
    "impulse_noise": _impulse_noise,
    "shot_noise": _shot_noise,
    "gaussian_blur": _gaussian_blur,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("name", "scale"),
    [(name, "cifar-c") for name in PLAIN] + [("gaussian_blur", "paper"), ("pixelate", "imagenet-c")],
)
def test_quick_degradations_are_equal_to_plain_ones_bit_for_bit(
    name: str, scale: str, shape: tuple[int, int, int]
) -> None:
    count, height, width = shape
    images = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(width))
    ids = [f"test/{k}" for k in range(count)]
    for severity in (1, max_severity(name, scale)):
        values = parameters(name, severity, scale, width)
        expected = PLAIN[name](images, ids, severity, values).clamp(0, 1)
        assert torch.equal(degrade(images, name, severity, scale=scale, image_ids=ids), expected), severity


def test_without_a_codec_that_agrees_pillow_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = degradation_scene._codec.__wrapped__
    assert choose() is degradation_scene._through_opencv
    original = degradation_scene._through_opencv
    monkeypatch.setattr(degradation_scene, "_through_opencv", lambda *given: original(*given) ^ 1)
    assert choose() is degradation_scene._through_pillow


# Networks


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_network_gives_the_same_logits(name: str, tiny_model: TinyModel) -> None:
    network = folded(tiny_model(name, size=32)).network
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        quick = packed(network, images)
        assert quick is not network
        for batch in (
            images,
            images[:1],
            images.repeat(4, 1, 1, 1),
            images.to(memory_format=torch.channels_last),
        ):
            expected = network(batch)
            assert (quick(batch) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert packed(network, images) is quick
    assert not any(module.inplace for module in network.modules() if isinstance(module, nn.ReLU))
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_a_network_that_can_not_be_packed_is_left_as_it_is(name: str, tiny_model: TinyModel) -> None:
    network = folded(tiny_model(name, size=32)).network
    images = torch.rand(2, 3, 32, 32)
    assert packed(network, images) is network
    assert packed(network, images) is network


def test_every_size_has_its_own(tiny_model: TinyModel) -> None:
    network = folded(tiny_model("resnet18", size=64)).network
    with torch.inference_mode():
        for size in (32, 64, 32, 40):
            images = torch.rand(2, 3, size, size)
            assert torch.allclose(packed(network, images)(images), network(images), rtol=0, atol=1e-4)


class _Odd(nn.Module):
    """A network that does something unusual."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.calls = kind, 0
        self.convolution = nn.Conv2d(
            3, 3, 3, padding=1, padding_mode="circular" if kind == "circular" else "zeros"
        )
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        if self.kind == "twice":
            images = self.convolution(self.convolution(images))
        maps = self.convolution(images)
        if self.kind == "shared":
            return (self.relu(maps) + maps).to_dense().mean(dim=(2, 3))
        if self.kind == "branch" and float(images.mean()) > 0.9:
            maps = -maps
        if self.kind == "random":
            maps = maps * torch.rand(1)
        maps = self.relu(maps)
        return (maps.to_dense() if maps.is_mkldnn else maps).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("kind", "can"),
    [("twice", True), ("circular", True), ("shared", False), ("random", False)],
)
def test_a_network_is_packed_only_where_it_answers_the_same(kind: str, can: bool) -> None:
    network = _Odd(kind).eval().requires_grad_(False)
    images = torch.rand(3, 3, 16, 16)
    quick = packed(network, images)
    assert (quick is not network) == can
    if can:
        with torch.inference_mode():
            for batch in (images, images[:1]):
                assert torch.allclose(quick(batch), network(batch), rtol=0, atol=1e-5)


def test_what_a_packed_network_can_not_do_after_all_is_done_as_before() -> None:
    """It is seen only when it happens: the second batch takes a branch with an operation that oneDNN does not have."""
    network = _Odd("branch").eval().requires_grad_(False)
    dark, bright = torch.rand(3, 3, 16, 16), torch.ones(2, 3, 16, 16)
    with torch.inference_mode():
        assert packed(network, dark) is not network
        assert torch.allclose(logits(network, dark), network(dark), rtol=0, atol=1e-5)
        assert torch.allclose(logits(network, bright), network(bright), rtol=0, atol=1e-5)
        assert packed(network, dark) is network
        assert torch.allclose(logits(network, dark), network(dark), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (1, {"kernel_size": 1}),
        (1, {"kernel_size": 3, "padding": 1}),
        (2, {"kernel_size": 3, "padding": 1, "stride": 2}),
        (2, {"kernel_size": 1, "stride": 2, "bias": False}),
        (3, {"kernel_size": 3, "padding": 2, "dilation": 2, "stride": 3}),
        (4, {"kernel_size": 4}),
        (5, {"kernel_size": (3, 5), "padding": (0, 1), "stride": 4}),
    ],
)
def test_a_convolution_that_gives_one_pixel_is_a_product(size: int, settings: dict[str, object]) -> None:
    convolution = nn.Conv2d(4, 6, **settings).requires_grad_(False)  # type: ignore[arg-type]
    maps = torch.rand(3, 4, size, size)
    expected = convolution(maps)
    assert expected.shape[2:] == (1, 1)
    product = packing._Product(convolution, maps.shape)
    assert torch.allclose(product(maps), expected, rtol=0, atol=1e-5)
    assert torch.allclose(product(maps.to_mkldnn()), expected, rtol=0, atol=1e-5)
    assert product.weight.shape[1] <= 4 * size * size


def test_a_packed_network_goes_with_its_network_and_shares_its_weights(tiny_model: TinyModel) -> None:
    model = tiny_model("alexnet", size=32)
    network = folded(model).network
    quick = packed(network, torch.rand(2, 3, 32, 32))
    own, its = (dict(each.named_parameters()) for each in (network, quick))
    assert all(own[name].data_ptr() == value.data_ptr() for name, value in its.items())
    assert any(name.startswith("classifier") for name in its)
    gone = weakref.ref(network), weakref.ref(quick)
    del model, network, quick, own, its
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_threads_that_share_a_model_get_the_same_answers(tiny_model: TinyModel) -> None:
    model = tiny_model("resnet18", size=32)
    batches = [torch.rand(4, 3, size, size) for size in (32, 48) * 4]
    expected = [functional.softmax(folded(model).network(batch), dim=1) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda batch: evaluation.shares(model, batch, "fp32")[1], batches))
    for answer, right in zip(answers, expected, strict=True):
        assert np.abs(answer - right.numpy()).max() < 2.5e-4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tensor]:
    """Scenes of cue10 that the shipped networks were not trained on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(cue10.SPLITS, "test", 100)
        yield load_dataset("cue10", "test").float_images()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_answer_as_before(name: str, scenes: Tensor) -> None:
    """The same classes, and probabilities that differ by no more than half precision rounds off."""
    model = zoo.load(name)
    assert packed(folded(model).network, scenes) is not folded(model).network
    predicted, probabilities = evaluation.shares(model, scenes, "fp32")
    with torch.inference_mode():
        expected = model.network(scenes).softmax(dim=1)
    assert predicted.tolist() == expected.argmax(dim=1).tolist()
    halves = expected.numpy().astype(np.float16)
    assert np.abs(probabilities.view(np.int16).astype(int) - halves.view(np.int16)).max() <= 1  # neighbours
    assert torch.equal(*(torch.from_numpy(evaluation.shares(model, scenes, "fp32")[1]) for _ in range(2)))


def test_the_forward_path_leaves_global_state_alone(scenes: Tensor) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_rng_state().tolist(),
            torch.backends.mkldnn.enabled,
        )

    model = zoo.load(SHIPPED[0])
    before = state()
    evaluation.shares(model, scenes[:4], "fp32")
    assert state() == before
