"""Networks of others: fitted to an architecture, kept, and giving what they gave in their own framework."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models import builders, nearest, nearest_index, state_dicts, third_party, zoo
from models.cards import recipe_name
from models.checkpoints import CheckpointError
from models.import_request import NORMALIZATIONS, ImportRefused, Request, imagenet_classes
from models.key_forms import forms
from tests import import_helpers as helpers
from tests.import_helpers import State

SIZE = 32
BUILDER = "tests.import_helpers:small"
RESNET, NARROW = "timm:resnet10t", "resnet18_cifar"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_MODELS", str(tmp_path / "networks"))
    monkeypatch.delenv(builders.ALLOWED, raising=False)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return helpers.resnet10t()


@pytest.fixture(scope="module")
def narrow() -> nn.Module:
    return helpers.ours()


@pytest.fixture
def _no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the nearest architectures are not the question: the search takes a second."""
    monkeypatch.setattr(nearest, "nearest", lambda *_given, **_options: [])


def saved(tmp_path: Path, content: Any, name: str = "a.pth") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def request(architecture: str | None = RESNET, **others: Any) -> Request:
    return replace(Request("mine", SIZE, architecture, normalization="half"), **others)


def brought_back(path: Path, asked: Request) -> nn.Module:
    """The network as `zoo.load` gives it after it was imported."""
    third_party.keep(third_party.bring(path, asked), replace_it=asked.replace)
    return zoo.load(asked.name).network


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def logits(network: nn.Module, pictures: Tensor) -> Tensor:
    """What a network gives in the memory format in which all are used here."""
    with torch.no_grad():
        return network.to(memory_format=torch.channels_last)(pictures)  # type: ignore[call-overload]


def halved(state: State) -> State:
    return helpers.rounded(state, torch.float16)


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "DataParallel": lambda state: {"state_dict": helpers.prefixed(state, "module."), "epoch": 90},
    "Lightning": lambda state: {"state_dict": helpers.prefixed(state, "model."), "pytorch-lightning_version": "2"},
    "compiled": lambda state: {"model": helpers.prefixed(state, "_orig_mod.module.")},
    "backbone in a compiled wrapper": lambda state: helpers.prefixed(state, "module._orig_mod.model.backbone."),
    "backbone beside its head": lambda state: {
        key if key.startswith("fc.") else f"encoder.{key}": value for key, value in state.items()
    },
    "no counters": helpers.without_counters,
    "criterion's counter": lambda state: {**state, "total_ops": torch.zeros(1), "layer1.total_params": torch.zeros(1)},
    "average in torch's own wrapper": lambda state: {
        "model_ema": {"n_averaged": torch.tensor(3), **helpers.prefixed(state, "module.module.")}
    },
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_names_are_found_in_every_wrapping(wrapping: str, resnet: nn.Module, tmp_path: Path) -> None:
    found = state_dicts.read(saved(tmp_path, WRAPPINGS[wrapping](resnet.state_dict()))).choose()
    fit = nearest.compare(found.tensors, RESNET)
    assert fit.fits
    originals = {key: value for key, value in resnet.state_dict().items() if value.is_floating_point()}
    assert originals.keys() <= set(fit.names.values())
    taken = {new: found.tensors[old] for old, new in fit.names.items()}
    assert all(torch.equal(taken[key], value) for key, value in originals.items())


@pytest.mark.parametrize("wrapping", ["bare", "backbone beside its head"])
def test_logits_are_bit_equal_to_the_original_ones(wrapping: str, resnet: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, WRAPPINGS[wrapping](resnet.state_dict()))
    network = brought_back(path, request())
    assert torch.equal(logits(network, images()), logits(resnet, (images() - 0.5) / 0.5))
    assert not any(getattr(module, "inplace", False) for module in network.modules())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_the_rounded_weights(
    kind: torch.dtype, resnet: nn.Module, tmp_path: Path
) -> None:
    state = helpers.rounded(resnet.state_dict(), kind)
    network = brought_back(saved(tmp_path, {"model": state}), request())
    other = helpers.resnet10t()
    other.load_state_dict({key: value.float() for key, value in state.items()})
    assert torch.equal(logits(network, images()), logits(other, (images() - 0.5) / 0.5))


def test_our_own_architectures_take_safetensors_and_find_their_width(
    narrow: nn.Module, tmp_path: Path
) -> None:
    state = {key: value for key, value in narrow.state_dict().items() if not key.startswith("normalize.")}
    save_file(state, tmp_path / "a.safetensors")
    brought = third_party.bring(tmp_path / "a.safetensors", request(NARROW, normalization="imagenet"))
    assert brought.model.card.options == {"width": 8}
    third_party.keep(brought)
    assert torch.equal(logits(zoo.load("mine").network, images()), logits(narrow, images()))


def test_a_checkpoint_of_this_project_brings_its_own_normalisation(tmp_path: Path) -> None:
    card = zoo.cards()["resnet18_cifar-w16-cue10-s0"]
    original = zoo.load(card.name)
    network = brought_back(
        zoo.SHIPPED / f"{card.name}.safetensors", request(NARROW, normalization=None, classes=card.classes)
    )
    assert torch.equal(logits(network, images()), logits(original.network, images()))


def test_the_average_is_taken_when_it_is_asked_for(resnet: nn.Module, tmp_path: Path) -> None:
    state = resnet.state_dict()
    average = {key: value * 1.5 if key == "fc.weight" else value for key, value in state.items()}
    path = saved(tmp_path, {"state_dict_ema": helpers.prefixed(average, "module."), "state_dict": state})
    plain, averaged = (third_party.bring(path, request(key=key)) for key in (None, "ema"))
    assert torch.equal(averaged.model.network.get_parameter("model.fc.weight"), average["fc.weight"])
    assert torch.equal(plain.model.network.get_parameter("model.fc.weight"), state["fc.weight"])
    assert (plain.model.card.recipe["average"], averaged.model.card.recipe["average"]) == ("no", "yes")
    assert any("Not taken: 'state_dict_ema'; --key NAME takes it." in line for line in plain.report.lines())


def test_the_card_says_where_the_network_comes_from(resnet: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": halved(resnet.state_dict())})
    names = tuple("abcdefg")
    card = third_party.keep(third_party.bring(path, request(classes=names, dataset="cue10")))
    assert zoo.cards()["mine"] == card
    assert recipe_name(card) == "imported"
    assert card.recipe["source_sha256"] == zoo.sha256(path)
    assert (card.recipe["source"], card.recipe["entry"], card.recipe["mean"]) == (
        "a.pth",
        "model",
        "0.5 0.5 0.5",
    )
    assert (card.classes, card.dataset, card.input_size, card.storage) == (names, "cue10", SIZE, "float32")
    assert set(card.accuracy.values()) == {None}
    assert card.parameters == sum(weight.numel() for weight in resnet.parameters())
    assert zoo.load("mine").default_layer in zoo.load("mine").stages


def test_names_of_old_densenets_are_understood() -> None:
    old = "features.denseblock1.denselayer1.norm.1.weight"
    (form, *_others) = forms([old, "features.norm5.weight", "classifier.weight"])
    assert form.names[old] == "features.denseblock1.denselayer1.norm1.weight"


def test_an_old_densenet_fits() -> None:
    shapes = nearest.outline("torchvision:densenet121", {}).shapes
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    state = {old.sub(r"\1.\2", key): torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert any(".norm.1." in key for key in state)
    fit = nearest.compare(state, "torchvision:densenet121")
    assert (fit.missing, fit.unexpected, fit.mis_shaped) == ((), (), ())


@pytest.mark.usefixtures("_no_search")
def test_every_difference_is_named(resnet: nn.Module, tmp_path: Path) -> None:
    state = resnet.state_dict()
    del state["layer1.0.conv1.weight"], state["layer2.0.bn1.bias"]
    state["layer3.0.conv1.weight"] = torch.zeros(4, 4)
    state["layer3.0.conv2.weight"] = state["layer3.0.conv2.weight"].long()
    state |= {"extra.weight": torch.zeros(2, 2)}
    report = third_party.inspect(saved(tmp_path, state), architecture=RESNET)
    fit = report.fits[0]
    assert fit.missing == ("layer1.0.conv1.weight", "layer2.0.bn1.bias")
    assert fit.unexpected == ("extra.weight",)
    assert fit.mis_shaped == (
        ("layer3.0.conv1.weight", (4, 4), tuple(resnet.get_parameter("layer3.0.conv1.weight").shape)),
    )
    assert fit.wrong_kind == ("layer3.0.conv2.weight",)
    text = "\n".join(report.lines())
    assert "2 weights are missing, 1 unexpected, 1 of another shape, 1 of another kind" in text
    assert "layer3.0.conv1.weight: 4x4 in the file, 256x128x3x3 needed" in text
    with pytest.raises(ImportRefused, match="2 weights are missing") as error:
        third_party.bring(tmp_path / "a.pth", request())
    assert error.value.fit == fit


def test_long_lists_are_cut_and_counted(narrow: nn.Module) -> None:
    fit = nearest.compare({"a.weight": torch.zeros(2, 2)}, NARROW, {"width": 8})
    lines = fit.lines()
    assert f"  {len(fit.missing):,} missing from the file:" in lines
    assert f"    and {len(fit.missing) - 10:,} more" in lines
    assert len(fit.missing) > 20


@pytest.mark.usefixtures("_no_search")
def test_left_over_weights_can_be_left_out(resnet: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, {**resnet.state_dict(), "extra.weight": torch.zeros(2, 2)})
    with pytest.raises(ImportRefused, match="0 weights are missing, 1 unexpected"):
        third_party.bring(path, request())
    network = third_party.bring(path, request(ignore_unexpected=True)).model.network
    assert torch.equal(logits(network, images()), logits(resnet, (images() - 0.5) / 0.5))


@pytest.mark.usefixtures("_no_search")
def test_the_head_of_the_file_counts(resnet: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, resnet.state_dict())
    with pytest.raises(ImportRefused, match="the head tells 7 classes apart, but 3 class names were given"):
        third_party.bring(path, request(classes=("a", "b", "c")))
    brought = third_party.bring(path, request())
    assert brought.model.classes == tuple(f"class {index}" for index in range(7))
    assert brought.notes[0] == "No class names were given: the 7 classes are numbered."
    headless = {key: value for key, value in resnet.state_dict().items() if not key.startswith("fc.")}
    with pytest.raises(
        ImportRefused, match=r"the head that tells classes apart is missing \(fc.weight, fc.bias\)"
    ):
        third_party.bring(saved(tmp_path, headless), request())


def test_the_nearest_architecture_is_found_and_taken(
    resnet: nn.Module, narrow: nn.Module, tmp_path: Path
) -> None:
    state = helpers.prefixed(halved(resnet.state_dict()), "module.")
    fits = nearest.nearest(state)
    assert (fits[0].architecture, fits[0].fits, fits[0].outputs) == (RESNET, True, 7)
    assert not any(fit.fits for fit in fits[1:])
    assert [fit.share for fit in fits[1:]] == sorted((fit.share for fit in fits[1:]), reverse=True)
    assert third_party.bring(saved(tmp_path, state), request(None)).model.card.architecture == RESNET


def test_of_a_wrong_architecture_the_nearest_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, {key: torch.zeros(shape) for key, shape in _resnet18().items()})
    with pytest.raises(ImportRefused, match=r"resnet34 does not fit: .* Nearest: resnet18\."):
        third_party.bring(path, request("resnet34"))


def _resnet18() -> dict[str, tuple[int, ...]]:
    return nearest_index.shapes_of(nearest_index.build_on_meta("resnet18", 2, width=64))


@pytest.mark.parametrize("name", ["resnet18_cifar", "alexnet"])
def test_those_that_differ_in_one_weight_are_told_apart(name: str) -> None:
    shapes = nearest_index.shapes_of(nearest_index.build_on_meta(name, 12))
    best = nearest.nearest({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})[0]
    assert (best.architecture, best.fits, best.outputs) == (name, True, 12)


def test_of_nothing_known_no_architecture_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, {"quite.unlike.anything": torch.zeros(3, 3)})
    assert third_party.inspect(path).lines()[-1] == "No architecture is known that these weights resemble."
    with pytest.raises(ImportRefused, match="resembles no architecture that is known here"):
        third_party.bring(path, request(None))


@pytest.mark.parametrize("name", ["resnet18", "torchvision:squeezenet1_1", "timm:resnet10t"])
def test_the_index_is_that_of_the_architectures(name: str) -> None:
    names, sketches = nearest_index.load()
    built = nearest_index.build_on_meta(name, nearest_index.CLASSES)
    assert (sketches[names.index(name)] == nearest_index.sketch(nearest_index.shapes_of(built))).all()


def test_sketches_estimate_what_sets_share() -> None:
    """Of 3,000 names in two sets 1,000 are in both: the estimate from 32 hashes is within 4 standard errors of 1/3."""
    one = nearest_index.sketch({f"a{number}": (1,) for number in range(2000)})
    other = nearest_index.sketch({f"a{number}": (1,) for number in range(1000, 3000)})
    error = (1 / 3 * 2 / 3 / nearest_index.SKETCH) ** 0.5
    assert abs(nearest_index.alike(one, other[None])[0] - 1 / 3) < 4 * error
    assert nearest_index.alike(one, one[None])[0] == 1
    few = nearest_index.sketch({"a": (1,), "b": (2,)})
    assert nearest_index.alike(few, nearest_index.sketch({"a": (1,), "b": (3,)})[None])[0] == pytest.approx(
        (1 / 3 + 1) / 2
    )


@pytest.mark.parametrize("name", ["cifar10"])
def test_normalisations_stand_before_the_network(name: str, resnet: nn.Module, tmp_path: Path) -> None:
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in NORMALIZATIONS[name])
    network = third_party.bring(
        saved(tmp_path, resnet.state_dict()), request(normalization=name)
    ).model.network
    assert torch.equal(logits(network, images()), logits(resnet, (images() - mean) / std))


def test_bytes_are_0_to_255(resnet: nn.Module, tmp_path: Path) -> None:
    network = third_party.bring(
        saved(tmp_path, resnet.state_dict()), request(normalization="bytes")
    ).model.network
    assert torch.allclose(
        network.get_submodule("normalize")(torch.ones(1, 3, 1, 1)), torch.full((1, 3, 1, 1), 255.0)
    )


def test_networks_of_other_channel_order_take_our_images(resnet: nn.Module, tmp_path: Path) -> None:
    asked = request(channels="bgr", normalization=((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    network = brought_back(saved(tmp_path, resnet.state_dict()), asked)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert torch.allclose(
        logits(network, images()), logits(resnet, ((images() - mean) / std).flip(1)), atol=1e-5
    )


def test_a_transformer_of_another_image_size_fits(tmp_path: Path) -> None:
    import timm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vit = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64)
    fit = nearest.compare(vit.state_dict(), "timm:vit_tiny_patch16_224")
    assert (fit.fits, fit.options, fit.outputs) == (True, {"image_size": 64}, 3)


@pytest.mark.parametrize(
    ("default", "found", "need", "side"),
    [
        (224, 49, 196, 112),  # cells of a grid
        (224, 17, 197, 64),  # and a class token
        (256, 15, 31, 128),  # places relative to a cell along a side, 2 s - 1
        (224, 169, 729, 112),  # and in two directions
        (224, 172, 732, 112),  # and for a class token
    ],
)
def test_lengths_of_axes_tell_the_image_size(default: int, found: int, need: int, side: int) -> None:
    assert side in nearest._sides(default, found, need)
    assert side not in nearest._sides(default, found + 5, need)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a path": ({"name": "../x"}, "the name is '../x'; allowed are up to 80 letters"),
    "nothing": ({"name": ""}, "the name is ''"),
    "a hidden file": ({"name": ".x"}, "the name is '.x'"),
    "a reserved folder": ({"name": "Records"}, "the name is 'Records'"),
    "a shipped network": ({"name": "resnet18-cue10-s0", "replace": True}, "comes with the project"),
    "torchvision's": ({"name": "resnet50-imagenet", "replace": True}, "comes with the project"),
    "a tiny image": ({"input_size": 4}, "the input size is 4 px; allowed are 8 to 1024"),
    "channels": ({"channels": "gbr"}, "the channels are 'gbr'; allowed are rgb, bgr"),
    "normalisation": ({"normalization": "imgnet"}, "the normalisation is 'imgnet'; allowed are imagenet"),
    "no spread": ({"normalization": ((0, 0, 0), (1, 0, 1))}, "std 1 0 1; allowed are three numbers each"),
    "two numbers": ({"normalization": ((0, 0), (1, 1))}, "allowed are three numbers each"),
    "no number": ({"normalization": ((0, 0, float("nan")), (1, 1, 1))}, "allowed are three numbers each"),
    "no classes": ({"classes": ()}, "0 class names were given"),
    "a class twice": ({"classes": tuple("abcdefa")}, "the class 'a' was named twice"),
    "an empty class": ({"classes": ("a", " ")}, "a class is named ' '"),
    "an unknown architecture": ({"architecture": "resnet19"}, "there is no architecture 'resnet19'"),
    "an unknown library's": ({"architecture": "timm:resnet19x"}, "timm has no network 'resnet19x'"),
    "an unknown option": (
        {"architecture": "resnet18", "options": {"depth": 3}},
        "resnet18 has no option 'depth'",
    ),
    "an entry that is not there": ({"key": "ema"}, "has no weights under 'ema'"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_requests_are_refused_and_keep_nothing(what: str, resnet: nn.Module, tmp_path: Path) -> None:
    changes, words = BAD[what]
    with pytest.raises(ValueError, match=words):
        third_party.bring(saved(tmp_path, resnet.state_dict()), request(**changes))
    assert not zoo.local_folder().exists()


def test_a_name_is_replaced_only_when_asked(resnet: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, resnet.state_dict())
    first = third_party.bring(path, request())
    third_party.keep(first)
    (zoo.local_folder() / "mine" / "curve.json").write_text("[]")
    with pytest.raises(ImportRefused, match="there is a network mine already"):
        third_party.bring(path, request())
    with pytest.raises(ImportRefused, match="there is a network mine already"):
        third_party.keep(first)
    network = brought_back(path, request(replace=True, normalization="none"))
    assert torch.equal(logits(network, images()), logits(resnet, images()))
    assert zoo.curve_path("mine") is None
    assert third_party.files_of("mine") == sorted((zoo.local_folder() / "mine").iterdir())


def test_imagenet_names_are_a_thousand_different_ones() -> None:
    names = imagenet_classes()
    assert len(set(names)) == len(names) == 1000
    assert names[0] == "tench"


def test_builders_are_refused_until_they_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = helpers.seeded(helpers.small)
    path = saved(tmp_path, network.state_dict())
    asked = request(builders.PREFIX + BUILDER)
    with pytest.raises(
        builders.BuilderError, match="only where the environment variable XAI_ALLOW_BUILDERS is 1"
    ):
        third_party.bring(path, asked)
    monkeypatch.setenv(builders.ALLOWED, "1")
    loaded = brought_back(path, asked)
    assert torch.equal(logits(loaded, images()), logits(network, (images() - 0.5) / 0.5))
    assert zoo.cards()["mine"].architecture == f"builder:{BUILDER}"
    monkeypatch.delenv(builders.ALLOWED)
    with pytest.raises(CheckpointError, match=r"mine: tests\.import_helpers:small would have to be imported"):
        zoo.load("mine")
    assert "mine" in zoo.cards()


def test_a_builder_that_takes_no_classes_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(builders.ALLOWED, "1")
    path = saved(tmp_path, helpers.seeded(helpers.three).state_dict())
    model = third_party.bring(path, request("builder:tests.import_helpers:three")).model
    assert model.classes == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os:system", "can't build a network"),
        ("no.such.module:make", "can't be imported"),
        ("tests.import_helpers:missing", "has no function missing"),
        ("tests.import_helpers:not_a_network", "gives a int; needed is a torch.nn.Module"),
        ("tests/import_helpers:small", "allowed is package.module:function"),
        ("tests.import_helpers:small; x", "allowed is package.module:function"),
    ],
)
def test_bad_builders_are_refused(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(builders.ALLOWED, "1")
    path = saved(tmp_path, {"a": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=words):
        third_party.bring(path, request(builders.PREFIX + name))
