"""Receptive fields: equal to the measured support of the gradient, and to numbers worked out by hand."""

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import Normalize
from models.pooling import TMaxAvgPool2d
from models.registry import ARCHITECTURES
from tests.conftest import TinyModel
from xai.attribution_types import ExplanationError
from xai.hooks import find_layer
from xai.receptive_field import Box, fields, receptive_field

pytestmark = pytest.mark.usefixtures("one_thread")


def spread_out(module: nn.Module) -> None:
    """Average pooling for all pooling that chooses: every pixel of a window then has a gradient."""
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d | TMaxAvgPool2d):
            setattr(
                module,
                name,
                nn.AvgPool2d(
                    child.kernel_size, child.stride, child.padding, getattr(child, "ceil_mode", False)
                ),
            )
        else:
            spread_out(child)


def make_positive(network: nn.Module) -> None:
    """Weights above zero that keep the scale of numbers, and batch norms that do nothing, so that nothing cancels."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = torch.rand(module.weight.shape, generator=generator, dtype=torch.float64) + 0.5
            module.weight.data = weight / weight[0].numel()
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, Normalize):
            module.mean.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.reset_parameters()


def measured(network: nn.Module, layers: tuple[str, ...], size: int) -> Callable[[str, tuple[int, int]], Box]:
    """Runs the network on a bright image; what is given finds the pixels that all channels of a cell depend on."""
    image = (0.6 + 0.4 * torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))).double()
    image.requires_grad_()
    outputs: dict[str, Tensor] = {}
    handles = [
        find_layer(network, layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: outputs.__setitem__(layer, output)
        )
        for layer in layers
    ]
    network(image)
    for handle in handles:
        handle.remove()

    def support(layer: str, cell: tuple[int, int]) -> Box:
        channels = outputs[layer][:, :, cell[0], cell[1]]
        score = (
            channels * torch.linspace(1, 2, channels.shape[1])
        ).sum()  # a plain sum after a norm is constant
        (gradient,) = torch.autograd.grad(score, image, retain_graph=True)
        reached = (gradient[0] != 0).any(dim=0)
        rows, columns = reached.any(dim=1).nonzero()[:, 0], reached.any(dim=0).nonzero()[:, 0]
        return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    return support


def cells_of(grid: tuple[int, int]) -> set[tuple[int, int]]:
    """Corners, the centre and a cell beside it."""
    (bottom, right), (middle, centre) = (grid[0] - 1, grid[1] - 1), (grid[0] // 2, grid[1] // 2)
    return {(0, 0), (0, right), (bottom, right), (middle, centre), (middle, centre // 2)}


def size_for(name: str) -> int:
    """A side at which the layers' fields do not all cover the image, for the least work."""
    if name == "alexnet_224":
        return 95
    return 36 if name.endswith("_cifar") or name == "vit_small" else 70


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_box_is_the_support_of_the_gradient_on_every_architecture(
    name: str, tiny_model: TinyModel
) -> None:
    entry, size = ARCHITECTURES[name], size_for(name)
    network = tiny_model(name, size).network
    found = fields(network, entry.stages, size)
    if name == "alexnet_224":
        network.classifier = nn.Identity()  # 58 million weights behind all that is looked at
    spread_out(network)
    make_positive(network.double())
    support = measured(network, entry.stages, size)
    for layer in entry.stages:
        assert found[layer].exact
        for cell in cells_of(found[layer].grid):
            assert found[layer].box(cell) == support(layer, cell), (layer, cell)


def stack() -> nn.Sequential:
    """Three convolutions: 3x3, then 5x5 with stride 2 and no padding, then 3x3 of every second pixel."""
    first = nn.Conv2d(3, 2, 3, padding=1)
    return nn.Sequential(
        first, nn.Sequential(nn.Conv2d(2, 2, 5, stride=2), nn.ReLU()), nn.Conv2d(2, 2, 3, dilation=2)
    )


def test_a_stack_worked_out_by_hand() -> None:
    network = stack()
    # 20 px -> 20 -> (20 - 5) // 2 + 1 = 8 -> 8 - 4 = 4 cells
    assert fields(network, ["2"], 20)["2"].grid == (4, 4)
    # cell 1 sees cells 1, 3, 5 of the second, whose windows are 2..6, 6..10, 10..14, one more px on either side
    assert receptive_field(network, "2", (1, 1), 20) == Box(1, 1, 16, 16)
    assert receptive_field(network, "2", (0, 3), 20) == Box(0, 5, 14, 20)
    assert receptive_field(network, "1", (0, 7), 20) == Box(0, 13, 6, 20)
    assert receptive_field(network, "0", (0, 5), (20, 30)) == Box(0, 4, 2, 7)


def test_dilation_beyond_the_border_reaches_the_first_pixel_on_its_own_grid() -> None:
    """Taps at -3, -1, 1, 3, 5: the padding is not clipped to 0, as no tap lies there."""
    network = nn.Sequential(nn.Conv2d(3, 1, 5, padding=3, dilation=2))
    assert receptive_field(network, "0", (0, 0), 9) == Box(1, 1, 6, 6)


class Several(nn.Module):
    """A layer that is called twice, one that gives a tuple, one beside the way, a cut and a sum of two paths."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.pair = Pair()
        self.sum, self.vector, self.cut, self.unused = (nn.Identity() for _ in range(4))
        self.odd = nn.AdaptiveAvgPool2d(3)
        self.wide = nn.Upsample(scale_factor=2)
        self.back = nn.ConvTranspose2d(3, 1, 4, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        twice = self.twice(self.twice(images))
        self.odd(images)
        self.wide(images)
        self.back(images)
        left, right = self.pair(images)
        return self.vector(self.sum(twice + F.pad(self.cut(left + right), (0, 4, 0, 4))).mean(dim=(2, 3)))


class Pair(nn.Module):
    """The image without its first two rows and columns, and without the next two."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images[:, :, 2:-2, 2:-2], images[:, :, 4:, 4:]


@pytest.mark.parametrize(
    ("layer", "cell", "expected"),
    [
        ("twice", (5, 0), Box(4, 0, 7, 2)),
        ("twice#2", (5, 0), Box(3, 0, 8, 3)),
        ("pair", (1, 2), Box(3, 4, 4, 5)),
        ("cut", (0, 4), Box(2, 6, 5, 9)),  # pixels 2 and 4 further
        ("sum", (0, 5), Box(0, 3, 5, 10, False)),  # with 5x5 of the convolutions
        ("sum", (9, 9), Box(7, 7, 10, 10, False)),  # there the other path is padding
        ("vector", (0, 0), Box(0, 0, 10, 10)),
        ("odd", (1, 0), Box(3, 0, 7, 4)),  # floor(10 / 3) to ceil(20 / 3)
        ("wide", (7, 8), Box(3, 4, 4, 5)),
        ("back", (1, 2), Box(0, 0, 2, 2)),  # 2 * i - 1 + tap = 1: i = 0, 1
    ],
)
def test_layers_of_all_kinds(layer: str, cell: tuple[int, int], expected: Box) -> None:
    assert receptive_field(Several(), layer, cell, 10) == expected


def test_a_second_call_is_named_by_its_number_or_by_call() -> None:
    network = Several()
    assert receptive_field(network, "twice", (5, 5), 10, call=1) == Box(3, 3, 8, 8)
    with pytest.raises(ExplanationError, match="never runs 'twice#3'"):
        receptive_field(network, "twice", (0, 0), 10, call=2)
    with pytest.raises(ExplanationError, match="never runs 'unused'"):
        receptive_field(network, "unused", (0, 0), 10)
    with pytest.raises(ExplanationError, match="no layer 'other'"):
        receptive_field(network, "other", (0, 0), 10)
    with pytest.raises(ExplanationError, match=r"\(10, 0\); allowed are \(0, 0\) to \(9, 9\)"):
        receptive_field(network, "twice", (10, 0), 10)


class Mirrored(torch.autograd.Function):
    """An operation that nobody here knows."""

    @staticmethod
    def forward(_context: object, images: Tensor) -> Tensor:
        return images.flip(2)

    @staticmethod
    def backward(_context: object, *gradients: Tensor) -> Tensor:
        return gradients[0].flip(2)


class Strange(nn.Module):
    """Runs an operation that is not known, and looks at numbers while it does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 1, 3), nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        if float(images.detach().sum()) > 1e9:
            return images
        return self.last(Mirrored.apply(self.first(images)))


def test_an_unknown_operation_takes_the_whole_image_and_says_so() -> None:
    network = Strange()
    assert receptive_field(network, "first", (0, 0), 8) == Box(0, 0, 3, 3)
    assert receptive_field(network, "last", (0, 0), 8) == Box(0, 0, 8, 8, exact=False)


def test_nothing_is_left_on_the_network_and_the_boxes_are_kept(tiny_model: TinyModel) -> None:
    network = tiny_model("resnet18_cifar").network.train()
    weights = {name: weight.requires_grad for name, weight in network.named_parameters()}
    first = fields(network, ["layer1"], 32)["layer1"]
    assert fields(network, ["layer1", "layer2"], 32)["layer1"] is first
    assert network.training
    assert {name: weight.requires_grad for name, weight in network.named_parameters()} == weights
    assert all(not module._forward_hooks for module in network.modules())


def test_boxes_in_inference_mode_and_in_another_thread(tiny_model: TinyModel) -> None:
    network, found = tiny_model("alexnet").network, list[Box]()

    def ask() -> None:
        with torch.inference_mode():
            found.append(receptive_field(network, "features.4", (0, 0), 32))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    # 5x5 with stride 2, 3x3 pooling with stride 2, 5x5: to the right 2 + 2 * (1 + 2 * 2)
    assert found == [Box(0, 0, 13, 13)]


def test_a_box_says_its_size_and_cuts_itself_out() -> None:
    box = Box(2, 1, 5, 5)
    assert (box.size, box.share(10), box.share((3, 4))) == ((3, 4), 0.12, 1.0)
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert torch.equal(box.crop(image), image[:, :, 2:5, 1:5])
