"""The recipes: their table, what they do to pictures, rates and losses, and that each of them resumes exactly."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as reference
from torch import Tensor, nn

from models import augmentation, recipes, training, training_state
from models.augmentation import augment
from models.distillation import distillation_loss
from models.recipes import RECIPES, NamedRecipe, Recipe, recipe_for
from models.schedules import learning_rate, plateaus
from models.training_state import LabelledImages, Run
from tests.test_training import CPU, SHORT, assert_same_weights, fresh, run_training, striped
from xai.degraded_training import GROUPS, MIXTURE, degrade_mixture

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 6, height: int = 16, width: int = 16) -> Tensor:
    """Random pictures in [0, 1]."""
    return torch.rand(count, 3, height, width, generator=seeded(0))


# The table


def test_the_names_agreed_on_exist() -> None:
    assert list(RECIPES) == [
        "standard",
        "transfer",
        "tuned_resnet18",
        "msff",
        "noise_injection",
        "degradation_aware",
        "distillation",
        "plateau",
        "no_smoothing",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_flat_and_name_themselves(name: str) -> None:
    values = asdict(RECIPES[name].recipe)
    assert values["name"] == name
    assert {type(value) for value in values.values()} <= {str, int, float, bool}
    assert Recipe(**values) == RECIPES[name].recipe


def test_values_that_the_papers_give() -> None:
    transfer, tuned = RECIPES["transfer"].recipe, RECIPES["tuned_resnet18"].recipe
    assert (transfer.epochs, transfer.batch_size, transfer.schedule, transfer.padding) == (
        50,
        64,
        "cosine",
        4,
    )
    assert (tuned.optimizer, tuned.learning_rate, tuned.weight_decay) == ("adamw", 1e-3, 1e-4)
    assert (tuned.schedule, tuned.epochs, tuned.batch_size, tuned.rotation) == ("cosine", 30, 64, 15)
    assert (RECIPES["msff"].recipe.optimizer, RECIPES["noise_injection"].recipe.noise) == ("adam", 0.01)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("noise_injection", {"noise"}),
        ("degradation_aware", {"degraded_share"}),
        ("distillation", {"teacher_weight"}),
        ("plateau", {"schedule", "learning_rate"}),
        ("no_smoothing", {"label_smoothing"}),
    ],
)
def test_ablations_differ_from_the_standard_in_what_they_are_about(name: str, changed: set[str]) -> None:
    standard, other = asdict(Recipe()), asdict(RECIPES[name].recipe)
    assert {key for key in standard if standard[key] != other[key]} == changed | {"name"}


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("resnet50", ("sgd", 0.2)),
        ("alexnet", ("sgd", 0.05)),
        ("alexnet_cbam", ("sgd", 0.05)),
        ("alexnet_bn", ("sgd", 0.1)),
        ("vgg16_bn", ("sgd", 0.1)),
        ("torchvision:vgg11", ("sgd", 0.05)),
        ("vit_small", ("adamw", 0.001)),
        ("timm:vit_tiny_patch16_224", ("adamw", 0.001)),
    ],
)
def test_rates_suit_the_architecture(architecture: str, expected: tuple[str, float]) -> None:
    recipe = recipe_for(architecture, "standard", "cifar10-jpeg")
    assert (recipe.optimizer, recipe.learning_rate) == expected
    assert recipe.chosen_schedule == "one_cycle"
    assert recipe_for(architecture, "msff", "cue10") == RECIPES["msff"].recipe


def test_transfer_starts_from_imagenet_where_there_are_such_weights() -> None:
    assert recipe_for("resnet18", "transfer", "cue10").initial == "resnet18-imagenet"
    assert recipe_for("resnet18_cifar", "transfer", "cue10").initial == ""


@pytest.mark.parametrize("name", RECIPES)
def test_pictures_of_the_users_own_folder_are_not_mirrored(name: str) -> None:
    """Writing or road signs may be among them."""
    assert not recipe_for("resnet18", name, "folder:/tmp/signs").flip
    assert recipe_for("resnet18", name, "cue10").flip


def test_dropout_is_implied_where_the_architecture_has_it() -> None:
    assert recipes.implied_options("dropout_resnet50", "msff") == {"dropout": 0.3}
    assert recipes.implied_options("resnet18", "standard") == {}
    assert recipes.implied_options("resnet18", "one's own") == {}


def test_unknown_and_doubled_recipes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no recipe 'best'; allowed are standard, transfer, "):
        recipe_for("resnet18", "best", "cue10")
    with pytest.raises(ValueError, match="registered twice"):
        recipes.register(RECIPES["standard"])
    with pytest.raises(ValueError, match="'other' calls itself 'standard'"):
        recipes.register(NamedRecipe("other", "", "", Recipe()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"schedule": "linear"},
            "schedule is 'linear'; allowed are auto, one_cycle, cosine, plateau, constant.",
        ),
        ({"rotation": 181}, "rotation is 181; allowed are degrees from 0 to 180."),
        ({"colour_jitter": 1.0}, "colour_jitter is 1.0; allowed are numbers in [0, 1)."),
        ({"noise": math.nan}, "noise is nan; allowed are numbers in [0, 1]."),
        ({"degraded_share": 1.1}, "degraded_share is 1.1; allowed are numbers in [0, 1]."),
        ({"temperature": 0}, "temperature is 0; allowed are numbers above 0."),
        ({"plateau_factor": 1}, "plateau_factor is 1; allowed are numbers in (0, 1)."),
        ({"plateau_patience": 0}, "plateau_patience is 0; allowed are whole numbers from 1."),
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(**change)
    assert str(caught.value) == message


# Rates


def test_plateau_by_hand() -> None:
    """The third and fourth loss are no better than 2, so a cut; the sixth and seventh no better than 1.5, another."""
    recipe = Recipe(schedule="plateau", learning_rate=0.4, plateau_factor=0.5, plateau_patience=2)
    losses = [3.0, 2.0, 2.5, 2.0, 1.5, 1.6, 1.7, 1.8, 1.4]
    rates = [learning_rate(recipe, 0.9, losses[:epochs]) for epochs in range(len(losses) + 1)]
    assert rates == pytest.approx([0.4] * 4 + [0.2] * 3 + [0.1] * 3)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_plateau_agrees_with_pytorch(patience: int) -> None:
    losses = torch.rand(60, generator=seeded(patience)).tolist()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0, eps=0
    )
    for epoch, loss in enumerate(losses, start=1):
        scheduler.step(loss)
        assert scheduler.get_last_lr()[0] == 0.5 ** plateaus(losses[:epoch], patience)


def test_constant_rate_and_explicit_schedules() -> None:
    assert {learning_rate(Recipe(schedule="constant"), at / 4) for at in range(5)} == {0.2}
    assert Recipe().explicit().schedule == "one_cycle"
    assert Recipe(optimizer="adam").explicit() == Recipe(optimizer="adam", schedule="cosine")


def test_adam_decays_in_the_gradient() -> None:
    """With no gradient but that of the decay, Adam moves by its whole rate, AdamW by rate times decay."""
    moved = {}
    for name in ("adam", "adamw"):
        linear = nn.Linear(1, 1, bias=False)
        nn.init.ones_(linear.weight)
        optimizer = training._optimizer(linear, Recipe(optimizer=name, learning_rate=0.01, weight_decay=0.1))
        linear.weight.grad = torch.zeros(1, 1)
        optimizer.step()
        moved[name] = 1 - linear.weight.item()
    assert moved == pytest.approx({"adam": 0.01, "adamw": 0.001}, rel=1e-3)


# Losses


def test_distillation_loss_by_hand() -> None:
    """At temperature 2 the student says 1/2, 1/2 and the teacher 3/4, 1/4: KL = ln(3)/4 * 3 - ln 2."""
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    recipe = Recipe(label_smoothing=0, temperature=2.0, teacher_weight=0.75)
    divergence = 0.75 * math.log(3 / 4 * 2) + 0.25 * math.log(1 / 4 * 2)
    assert divergence == pytest.approx(0.75 * math.log(3) - math.log(2))
    loss = distillation_loss(torch.zeros(1, 2), teacher, torch.tensor([1]), recipe)
    assert float(loss) == pytest.approx(0.25 * math.log(2) + 0.75 * 4 * divergence, rel=1e-5)


def test_distillation_at_the_ends() -> None:
    """Weight 0 is the smoothed cross-entropy; a student that answers as its teacher has no soft loss."""
    scores = torch.randn(5, 4, generator=seeded(1), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0])
    plain = distillation_loss(scores, torch.randn(5, 4, generator=seeded(2)), labels, Recipe())
    assert torch.equal(plain, F.cross_entropy(scores, labels, label_smoothing=0.1))
    imitating = distillation_loss(scores, scores.detach(), labels, Recipe(teacher_weight=1.0))
    (gradient,) = torch.autograd.grad(imitating, scores)
    assert float(imitating.detach()) == pytest.approx(0, abs=1e-6)
    assert float(gradient.abs().max()) < 1e-6


def test_a_taught_student_comes_to_answer_as_its_teacher(tmp_path: Path) -> None:
    """The teacher has the labels wrong way round, so that imitation can't be mistaken for learning."""

    class Teacher(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            top, left = images[:, :, :8].mean((1, 2, 3)), images[:, :, :, :8].mean((1, 2, 3))
            return 40 * torch.stack([top - left, left - top], dim=1)

    recipe = replace(SHORT, epochs=8, flip=False, teacher_weight=1.0)
    run = run_training(tmp_path, fresh(), recipe, teacher=Teacher())
    assert run.curve[-1].validation_accuracy <= 0.1


# Pictures


def test_rotation_by_nothing_and_by_a_right_angle() -> None:
    images = pictures()
    assert torch.allclose(augmentation.rotate(images, torch.zeros(6)), images, atol=1e-5)
    quarter = augmentation.rotate(images, torch.full((6,), math.pi / 2))
    assert torch.allclose(quarter, torch.rot90(images, 1, (2, 3)), atol=1e-4)


def test_rotation_agrees_with_torchvision_inside() -> None:
    """In the middle, where borders play no part; also when a picture is not square."""
    smooth = F.interpolate(pictures(2, 5, 6), size=(40, 48), mode="bicubic", align_corners=False).clamp(0, 1)
    angles = torch.tensor([20.0, -35.0])
    found = augmentation.rotate(smooth, angles * math.pi / 180)
    for image, turned, angle in zip(smooth, found, angles.tolist(), strict=True):
        expected = reference.rotate(image, angle, interpolation=reference.InterpolationMode.BILINEAR)
        assert torch.allclose(turned[:, 12:28, 16:32], expected[:, 12:28, 16:32], atol=0.01)


def test_colours_agree_with_torchvision() -> None:
    images = pictures()
    colours = torch.tensor([[1.3, 0.7, 1.1, 0.9, 1.0, 1.4], [0.6, 1.3, 1.0, 1.2, 1.0, 0.8]])
    colours = torch.stack([*colours, colours[0].flip(0), torch.tensor([0.1, -0.2, 0.5, 0.0, -0.05, 0.3])])
    found = augmentation.recolour(images, colours)
    for image, changed, (bright, contrast, saturation, hue) in zip(
        images, found, colours.T.tolist(), strict=True
    ):
        expected = reference.adjust_contrast(reference.adjust_brightness(image, bright), contrast)
        expected = reference.adjust_hue(reference.adjust_saturation(expected, saturation), hue)
        assert torch.allclose(changed, expected, atol=5e-4)  # torchvision's grey weights sum to 0.9999


def test_no_jitter_is_the_identity_and_brightness_multiplies_the_mean() -> None:
    images, neutral = pictures() / 2, torch.tensor([[1.0], [1.0], [1.0], [0.0]]).expand(4, 6)
    assert torch.allclose(augmentation.recolour(images, neutral), images, atol=1e-6)
    brighter = neutral.clone()
    brighter[0] = torch.linspace(0.5, 1.5, 6)
    means = augmentation.recolour(images, brighter).mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert torch.allclose(means, brighter[0], atol=1e-5)


def test_grey_pictures_have_no_hue_to_turn() -> None:
    grey = pictures()[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(augmentation.turn_hue(grey, torch.full((6, 1, 1), 0.3)), grey)


def test_noise_has_the_deviation_asked_for() -> None:
    recipe = Recipe(padding=0, flip=False, noise=0.01)
    images = torch.full((64, 3, 16, 16), 128, dtype=torch.uint8)
    noise = augment(images, recipe, seeded(3)) - 128 / 255
    assert float(noise.std()) == pytest.approx(0.01, rel=0.02)
    assert abs(float(noise.mean())) < 4 * 0.01 / math.sqrt(noise.numel())
    extremes = augment(images * 0, replace(recipe, noise=0.5), seeded(3))
    assert (float(extremes.min()), float(extremes.max()) <= 1) == (0.0, True)


def test_angles_and_factors_fill_their_ranges_evenly() -> None:
    draws = augmentation.draw(20000, Recipe(rotation=15, colour_jitter=0.2), seeded(4))
    assert draws.angles is not None
    assert draws.colours is not None
    spread = torch.cat(
        [draws.angles[None] / math.radians(15), (draws.colours - torch.tensor([[1], [1], [1], [0]]))]
    )
    spread[1:] /= torch.tensor([[0.2], [0.2], [0.2], [0.1]])
    assert float(spread.abs().max()) <= 1 + 1e-5
    assert spread.std(dim=1).tolist() == pytest.approx([1 / math.sqrt(3)] * 5, rel=0.02)
    assert spread.mean(dim=1).tolist() == pytest.approx([0] * 5, abs=0.02)


def test_what_is_not_asked_for_is_not_drawn() -> None:
    """So that a recipe of before these changes draws the same numbers as ever."""
    first, second = seeded(5), seeded(5)
    draws = augmentation.draw(8, Recipe(), first)
    torch.randint(0, 9, (2, 8), generator=second)
    torch.rand(8, generator=second)
    assert torch.equal(first.get_state(), second.get_state())
    assert (draws.angles, draws.colours, draws.noise_seed) == (None, None, None)


@pytest.mark.parametrize("name", ["standard", "tuned_resnet18", "msff", "noise_injection"])
def test_a_stack_of_draws_gives_the_same_pictures(name: str) -> None:
    recipe, images = RECIPES[name].recipe, (pictures() * 255).to(torch.uint8)
    one_by_one = [augment(images, recipe, generator) for generator in [seeded(6)] for _ in range(3)]
    generator = seeded(6)
    stacked = augmentation.stack([augmentation.draw(6, recipe, generator) for _ in range(3)]).to(CPU)
    for step, expected in enumerate(one_by_one):
        changed = augmentation.apply(images, stacked[step], recipe)
        assert torch.equal(augmentation.add_noise(changed, stacked[step], recipe), expected)


# Degradations


@pytest.mark.parametrize(("share", "expected"), [(0.5, 8), (0.25, 4), (1.0, 16)])
def test_so_many_pictures_of_each_batch_are_degraded(share: float, expected: int, tmp_path: Path) -> None:
    seen: list[int] = []

    def note(images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(len(images))
        return torch.zeros_like(images)

    blacks: list[int] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                blacks.append(int((images.amax((1, 2, 3)) == 0).sum()))
            return self.fc(images.mean((2, 3)))

    run_training(tmp_path, Watching(), replace(SHORT, epochs=1, degraded_share=share), degrade=note)
    assert seen == blacks == [expected] * 3


def test_the_mixture_covers_all_its_degradations_and_follows_its_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from xai import degraded_training

    calls: list[tuple[str, float, int]] = []
    real = degraded_training.degrade

    def note(images: Tensor, name: str, severity: float, **options: Any) -> Tensor:
        calls.append((name, severity, len(images)))
        return real(images, name, severity, **options)

    monkeypatch.setattr(degraded_training, "degrade", note)
    images, generator = pictures(10, 32, 32), seeded(7)
    results = [degrade_mixture(images, generator) for _ in range(25)]
    assert {name for name, _severity, _count in calls} == set(MIXTURE)
    assert all(0 < severity <= 5 for _name, severity, _count in calls)
    assert [count for _name, _severity, count in calls[:GROUPS]] == [3, 3, 2, 2]
    assert torch.equal(results[0], degrade_mixture(images, seeded(7)))
    assert all(result.shape == images.shape and float(result.min()) >= 0 for result in results)
    assert float(torch.stack(results).max()) <= 1


def test_missing_helpers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"teacher_weight is 0\.9, which does not fit the teacher given\."):
        run_training(tmp_path, fresh(), replace(SHORT, teacher_weight=0.9))
    with pytest.raises(
        ValueError, match=r"degraded_share is 0\.0, which does not fit the degradation given\."
    ):
        run_training(tmp_path, fresh(), SHORT, degrade=degrade_mixture)


# Whole trainings


class _Stopped(Exception):
    """Ends a training."""


def _helpers(recipe: Recipe) -> dict[str, Any]:
    helpers: dict[str, Any] = {}
    if recipe.degraded_share:
        helpers["degrade"] = degrade_mixture
    if recipe.teacher_weight:
        helpers["teacher"] = fresh(width=4)
    return helpers


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_resumes_exactly(name: str, tmp_path: Path) -> None:
    """Four epochs in a row, or two, and two more after a stop: the same weights and the same curve."""
    recipe = replace(
        RECIPES[name].recipe, epochs=4, batch_size=16, learning_rate=0.01, padding=2, plateau_patience=1
    )

    def stop(run: Run) -> None:
        if run.epoch == 2:
            raise _Stopped

    straight = run_training(tmp_path / "straight", fresh(), recipe, **_helpers(recipe))
    with pytest.raises(_Stopped):
        run_training(tmp_path / "cut", fresh(), recipe, on_epoch=stop, **_helpers(recipe))
    torch.manual_seed(99)
    resumed = run_training(tmp_path / "cut", fresh(), recipe, **_helpers(recipe))
    assert_same_weights(straight, resumed)
    assert [replace(row, seconds=0) for row in resumed.curve] == [
        replace(row, seconds=0) for row in straight.curve
    ]


def test_a_state_from_before_the_named_recipes_goes_on(tmp_path: Path) -> None:
    """It lacks the fields that are new, whose values were what their defaults are."""
    recipe = replace(SHORT, epochs=2)

    def stop(run: Run) -> None:
        raise _Stopped

    with pytest.raises(_Stopped):
        run_training(tmp_path / "cut", fresh(), recipe, on_epoch=stop)
    path = tmp_path / "cut" / training_state.STATE_FILE
    content = torch.load(path, weights_only=True)
    old: tuple[str, ...] = (
        "epochs",
        "batch_size",
        "optimizer",
        "learning_rate",
        "weight_decay",
        "label_smoothing",
        "padding",
    )
    old += ("flip", "warmup_share", "average_epochs", "compile")
    content["recipe"] = {key: content["recipe"][key] for key in old}
    torch.save(content, path)
    resumed = run_training(tmp_path / "cut", fresh(), recipe)
    assert_same_weights(run_training(tmp_path / "straight", fresh(), recipe), resumed)


def test_the_average_is_pytorchs_own() -> None:
    """The faster update and `AveragedModel.update_parameters` agree to the bit, counters of batches included."""
    network = fresh()
    runs = [training.start(network, SHORT, samples=48, device=CPU) for _ in range(2)]
    for step in range(4):
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.add_(step + 1)
        training._update_average(runs[0].average, network)
        runs[1].average.update_parameters(network)
    expected = runs[1].average.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in runs[0].average.state_dict().items())


def test_speed_is_measured_on_the_loop_itself() -> None:
    network = fresh()
    before = [weight.clone() for weight in network.parameters()]
    data = LabelledImages(*(getattr(striped(48, 0), part) for part in ("images", "labels")))
    speed = training.images_per_second(network, data, SHORT, steps=4, warmup=1, device=CPU)
    assert 0 < speed < math.inf
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    assert not torch.backends.cudnn.benchmark
