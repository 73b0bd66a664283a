"""Every sample picture can be read without network, and a missing one says so."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data import samples
from data.images import ImageError
from data.samples import SAMPLES, available_samples, load_sample, sample_path


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_can_be_read(name: str) -> None:
    image = load_sample(name)
    assert image.pixels.dtype == torch.uint8
    assert min(image.width, image.height) >= 224
    assert len(image.pixels.unique()) > 1
    assert image.name == sample_path(name).name


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_listed_in_their_wheel(name: str) -> None:
    # A file in the wheel's own list is there after a plain installation, without a download.
    distribution = pytest.importorskip("importlib.metadata").distribution(SAMPLES[name].distribution)
    listed = {str(file) for file in distribution.files or ()}
    assert f"{SAMPLES[name].package}/{SAMPLES[name].path}" in listed


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
def test_samples_state_maker_and_licence(sample: samples.Sample) -> None:
    assert SAMPLES[sample.name] is sample
    assert sample.licence in ("CC0", "public domain", "CC BY 2.0")
    assert sample.caption == f"{sample.title}. {sample.credit}, {sample.licence}."


def test_pictures_are_the_packages_own() -> None:
    data = pytest.importorskip("skimage.data")
    for name in ("chelsea", "astronaut", "coffee"):
        expected = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)
        assert torch.equal(load_sample(name).pixels, expected)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match="comes with the package scikit-image, which is not installed"):
        load_sample("chelsea")
    assert available_samples() == {}


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(ImageError, match="chelsea is missing from the installed package scikit-image"):
        load_sample("chelsea")


def test_an_unknown_sample_is_named() -> None:
    with pytest.raises(KeyError, match="chelsea, astronaut"):
        load_sample("dog")


def test_all_samples_are_available_here() -> None:
    assert available_samples() == SAMPLES


def test_the_packages_are_not_imported() -> None:
    program = (
        "import sys; from data.samples import SAMPLES, load_sample; [load_sample(n) for n in SAMPLES];"
        "assert not {'skimage', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(samples.__file__).parents[1])


def test_names_are_taken_once() -> None:
    with pytest.raises(ValueError, match="already registered"):
        samples._add("chelsea", "", "", "", "skimage", "")
