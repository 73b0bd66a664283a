"""Contact sheets: every channel on the pages, the right parts of images, and stopping and going on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from pypdf import PdfReader

from data.datasets import ImageSet
from models.registry import Model
from tests.conftest import TinyModel
from xai import contact_sheet, export, visualization_store
from xai.attribution_types import ExplanationError
from xai.cli import main
from xai.contact_sheet import Made, checked_channels, make
from xai.feature_visualization import Cancelled, Settings, visualize
from xai.figure_visualization import CROPS, SheetCell, cells_on_a_page
from xai.visualization_store import Store

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = Settings(steps=2, strip=0, batch=16, transforms="none")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse PNGs, which take a tenth of the time."""
    render = export.figures.render
    monkeypatch.setattr(export.figures, "render", lambda made, kind, dpi=60: render(made, kind, min(dpi, 60)))


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Model:
    """Its last stage has 64 channels, which is more than a page takes."""
    return tiny_model("resnet18_cifar", 8)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept")


@pytest.fixture(scope="module")
def data() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=generator)
    ids = tuple(f"image {row}" for row in range(12))
    return ImageSet("tiles", "test", images, torch.zeros(12, dtype=torch.long), ("tile",), ids)


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[SheetCell]:
    """What is drawn, beside drawing it."""
    seen: list[SheetCell] = []
    draw = contact_sheet.sheet_page

    def noted(page: Any, *rest: Any, **options: Any) -> Any:
        seen.extend(page)
        return draw(page, *rest, **options)

    monkeypatch.setattr(contact_sheet, "sheet_page", noted)
    return seen


def texts(path: Path) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(path).pages]


def test_every_channel_is_on_its_page(model: Model, store: Store, tmp_path: Path) -> None:
    told: list[tuple[float, float, str]] = []
    out = tmp_path / "new" / "sheet.pdf"
    made = make(model, "layer4", SETTINGS, None, out, lambda *step: told.append(step), store=store)
    assert made == Made(out, 2, 64)
    pages, room = texts(out), cells_on_a_page(crops=False)
    assert len(pages) == 2
    assert 32 < room < 64
    for channel in range(64):
        assert f" {channel}: " in pages[channel // room], channel
    assert f"channels 0 to {room - 1}" in pages[0]
    assert "page 2 of 2" in pages[1]
    assert all("No images were given, so there are no examples" in page for page in pages)
    assert [done for done, _total, _what in told] == sorted(done for done, _total, _what in told)
    assert told[-1][:2] == (64, 64)
    size = [float(side) / 72 for side in PdfReader(out).pages[0].mediabox[2:]]
    assert size == pytest.approx([8.27, 11.69], abs=0.01)


def test_text_stays_text_in_fonts_that_readers_take(model: Model, store: Store, tmp_path: Path) -> None:
    out = make(model, "layer1", SETTINGS, None, tmp_path / "sheet.pdf", store=store).path
    resources: Any = PdfReader(out).pages[0]["/Resources"]
    fonts = resources["/Font"].get_object()
    kinds = {font.get_object()["/Subtype"] for font in fonts.values()}
    assert kinds <= {"/Type0", "/TrueType"}


def test_the_crops_are_what_the_strongest_cell_looks_at(
    model: Model, data: ImageSet, store: Store, tmp_path: Path, cells: list[SheetCell]
) -> None:
    """Against a forward pass of our own; a cell of the first convolution sees the 3 x 3 px around it."""
    out = tmp_path / "sheet.pdf"
    made = make(model, "conv1", SETTINGS, data, out, channels=[3, 1], store=store)
    assert (made.channels, len(cells)) == (2, 2)
    network: Any = model.network
    with torch.no_grad():
        maps = network.conv1(network.normalize(data.float_images()))
    for channel, cell in zip((3, 1), cells, strict=True):
        order = maps[:, channel].flatten(1).amax(1).argsort(descending=True)[:CROPS]
        assert len(cell.crops) == CROPS
        for row, crop in zip(order.tolist(), cell.crops, strict=True):
            y, x = divmod(int(maps[row, channel].argmax()), 8)
            box = data.float_images()[row, :, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            assert torch.equal(crop, box)
        best = maps[order[0], channel].max()
        assert cell.words.endswith(f"images: {best:.3g}".replace("-", "−"))
    assert "4 images of tiles test (12 images)" in texts(out)[0]


def test_a_silent_channel_says_so(
    tiny_model: TinyModel, data: ImageSet, store: Store, tmp_path: Path
) -> None:
    own = tiny_model("resnet18_cifar", 8)
    network: Any = own.network
    with torch.no_grad():
        network.bn1.weight[2] = 0
        network.bn1.bias[2] = -1
    out = make(own, "relu", SETTINGS, data, tmp_path / "sheet.pdf", channels=[2], store=store).path
    assert "2: 0, silent on all images" in texts(out)[0]


def test_a_channel_that_is_no_number_is_not_called_silent(
    tiny_model: TinyModel, data: ImageSet, store: Store, tmp_path: Path
) -> None:
    own = tiny_model("resnet18_cifar", 8)
    network: Any = own.network
    with torch.no_grad():
        network.bn1.bias[2] = torch.nan
    out = make(own, "bn1", SETTINGS, data, tmp_path / "sheet.pdf", channels=[2], store=store).path
    assert "2: nan, no number for any image" in texts(out)[0]


def test_a_cancelled_sheet_goes_on_and_leaves_no_half_file(
    model: Model, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def counted(model: Model, objectives: Any, *rest: Any, **options: Any) -> Any:
        runs.append(len(objectives))
        return visualize(model, objectives, *rest, **options)

    monkeypatch.setattr(visualization_store, "visualize", counted)
    out = tmp_path / "out" / "sheet.pdf"
    with pytest.raises(Cancelled):
        make(model, "layer4", SETTINGS, None, out, cancelled=lambda: len(runs) > 1, store=store)
    assert runs == [16, 16]
    assert list(out.parent.iterdir()) == []
    make(model, "layer4", SETTINGS, None, out, store=store)
    assert sum(runs) == 64 + 16  # those of the batch that was cancelled were lost, those before it not
    runs.clear()
    first = out.read_bytes()
    make(model, "layer4", SETTINGS, None, out, store=store)
    assert runs == []
    assert out.read_bytes() == first


def test_why_there_are_no_images_is_on_every_page(model: Model, store: Store, tmp_path: Path) -> None:
    said = "There are no examples: tiles is not on this machine."
    out = make(
        model, "layer1", SETTINGS, None, tmp_path / "s.pdf", channels=[0], missing=said, store=store
    ).path
    assert said in texts(out)[0]


def test_a_layer_that_gives_a_vector_has_a_sheet(
    tiny_model: TinyModel, data: ImageSet, store: Store, tmp_path: Path, cells: list[SheetCell]
) -> None:
    own = tiny_model("alexnet", 8)
    name = next(name for name, part in own.network.named_modules() if isinstance(part, torch.nn.Linear))
    make(own, name, SETTINGS, data, tmp_path / "sheet.pdf", channels=[0], store=store)
    assert [crop.shape[-2:] for crop in cells[0].crops] == [(8, 8)] * CROPS  # it looks at the whole image


@pytest.mark.parametrize(
    ("layer", "channels", "words"),
    [("layer9", None, "layer9"), ("layer1", [8], "0 to 7"), ("layer1", [-1], "0 to 7")],
)
def test_what_does_not_exist_is_refused(
    model: Model, layer: str, channels: list[int] | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ExplanationError, match=words):
        checked_channels(model, layer, 8, channels)
    with pytest.raises(ExplanationError, match=words):
        make(model, layer, SETTINGS, None, tmp_path / "sheet.pdf", channels=channels)


QUICK = "--steps 2 --strip 2 --transforms none"
NAME = "resnet18_cifar-w16-cue10-s0"


def _main(command: str, out: Path) -> int:
    return main(shlex.split(f"visualize {command} --out {shlex.quote(str(out))}"))


def test_the_command_writes_a_figure_and_what_makes_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = f"--model {NAME} --layer layer2 --channel 1 2 --unit 3 --class square/checks --objective mix:layer2:1+2"
    assert _main(f"{asked} {QUICK}", out) == 0
    assert {path.name for path in out.iterdir()} == {
        "figure.pdf",
        "figure.svg",
        "figure.png",
        "figure-600dpi.png",
        "visualization.npz",
        "manifest.json",
    }
    assert f"wrote {out / 'manifest.json'}" in capsys.readouterr().out
    again = tmp_path / "again"
    assert main(["reproduce", str(out / "manifest.json"), "--out", str(again)]) == 0
    for name in ("figure.png", "visualization.npz"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_the_command_puts_two_networks_beside_each_other(tmp_path: Path) -> None:
    models = f"{NAME} alexnet-cue10-s0"
    assert _main(f"--model {models} --layer layer2 features.4 --channel 0 {QUICK}", tmp_path) == 0
    text = texts(tmp_path / "figure.pdf")[0]
    assert "channel 0 of layer2" in text
    assert "channel 0 of features.4" in text


def test_the_command_caricatures_a_picture(tmp_path: Path) -> None:
    asked = f"--model {NAME} --layer layer3 --caricature sample:chelsea {QUICK}"
    assert _main(asked, tmp_path) == 0
    assert "the image itself" in texts(tmp_path / "figure.pdf")[0]


def test_the_command_writes_a_sheet_without_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("data.storage.find_archive", lambda _name: None)
    out = tmp_path / "out"
    asked = f"--model {NAME} --layer layer1 --channel 0 1 --sheet --dataset cifar10 {QUICK}"
    assert _main(asked, out) == 1
    printed = capsys.readouterr()
    assert "2 channels on 1 page\n" in printed.out
    assert "cifar10" in printed.err
    (page,) = texts(out / f"sheet-{NAME}-layer1.pdf")
    assert "There are no examples of images" in page


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"--model {NAME} --layer layer1 --channel 99", "0 to 15"),
        (f"--model {NAME} --layer layer9 --channel 0", "allowed are its modules, such as layer1, layer2"),
        (f"--model {NAME} --layer a b --channel 0", "2 were given"),
        (f"--model {NAME} --class zebra", "'zebra'"),
        (f"--model {NAME} --objective colour:red", "'colour:red'"),
        (f"--model {NAME} --unit 0:99,0 --layer layer1", "99,0"),
        (f"--model {NAME}", "nothing to visualise"),
        (f"--model {NAME} --class 0 --steps 0", "steps is 0"),
        (f"--model {NAME} --class 0 --size 4", "size is 4"),
        (f"--model {NAME} --class 0 --transforms wild", "'wild'"),
        (f"--model {NAME} --class 0 --colours pink", "'pink'"),
        (f"--model {NAME} --class 0 --copies 0", "--copies is 0"),
        (f"--model {NAME} --class 0 --copies 61", "--copies is 61; allowed are 1 to 60"),
        (f"--model {NAME} --class 0 --width narrow", "'narrow'"),
        (f"--model {NAME} --class 0 --device tpu", "'tpu'"),
        (f"--model {NAME} --caricature nowhere.png", "nowhere.png"),
        (f"--model {NAME} --sheet --layer layer1 --dataset mnist", "mnist"),
        (f"--model {NAME} --sheet --layer layer1 --limit 0", "--limit is 0"),
        ("--model a b c --class 0", "3 were given"),
        ("--model resnet19 --class 0", "resnet19"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    command: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(f"--steps 2 {command}", tmp_path / "out") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert not (tmp_path / "out").exists()
