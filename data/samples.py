"""Sample pictures that come inside installed packages: a first look needs no upload and no network."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from data.images import Image, ImageError, read_image


@dataclass(frozen=True)
class Sample:
    """One picture: short name, title for the page, maker, licence, and where it lies in which package."""

    name: str
    title: str
    credit: str
    licence: str
    package: str
    path: str
    distribution: str

    @property
    def caption(self) -> str:
        """Title, maker and licence in one line."""
        return f"{self.title}. {self.credit}, {self.licence}."


SAMPLES: dict[str, Sample] = {}


def _add(name: str, title: str, credit: str, licence: str, package: str, path: str) -> None:
    if name in SAMPLES:
        raise ValueError(f"The sample {name} is already registered.")
    distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    SAMPLES[name] = Sample(name, title, credit, licence, package, path, distribution)


# Credits and licences as the packages state them (skimage.data's docstrings, sklearn's README of its images).
_add("chelsea", "Chelsea the cat", "Photo: Stefan van der Walt", "CC0", "skimage", "data/chelsea.png")
_add("astronaut", "Astronaut Eileen Collins", "Photo: NASA", "public domain", "skimage", "data/astronaut.png")
_add("coffee", "Cup of coffee", "Photo: Rachel Michetti", "CC0", "skimage", "data/coffee.png")
_add("rocket", "Falcon 9 at launch", "Photo: SpaceX", "public domain", "skimage", "data/rocket.jpg")
_add("camera", "Photographer (greyscale)", "Photo: Lav Varshney", "CC0", "skimage", "data/camera.png")
_add(
    "clock",
    "Wall clock, blurred by motion (greyscale)",
    "Photo: Stefan van der Walt",
    "public domain",
    "skimage",
    "data/clock_motion.png",
)
_add("horse", "Silhouette of a horse", "Drawing: Andreas Preuss", "CC0", "skimage", "data/horse.png")
_add(
    "china",
    "Temple in China",
    "Photo: danielbuechele on Flickr",
    "CC BY 2.0",
    "sklearn",
    "datasets/images/china.jpg",
)
_add(
    "flower",
    "Flower in bloom",
    "Photo: vultilion on Flickr",
    "CC BY 2.0",
    "sklearn",
    "datasets/images/flower.jpg",
)


def sample_path(name: str) -> Path:
    """Where the sample's file lies on this machine.

    Raises KeyError for a name that is not in SAMPLES, ImageError where the package or the file is missing.
    """
    if name not in SAMPLES:
        raise KeyError(f"The sample is one of {', '.join(SAMPLES)}, not {name}.")
    sample = SAMPLES[name]
    # find_spec locates the package without importing it: importing scikit-learn alone takes a second.
    spec = importlib.util.find_spec(sample.package)
    if spec is None or not spec.submodule_search_locations:
        raise ImageError(
            f"The sample {name} comes with the package {sample.distribution}, which is not installed."
        )
    path = Path(spec.submodule_search_locations[0], sample.path)
    if not path.is_file():
        raise ImageError(f"The sample {name} is missing from the installed package {sample.distribution}.")
    return path


def available_samples() -> dict[str, Sample]:
    """The samples whose files are on this machine, in the order of SAMPLES."""
    found: dict[str, Sample] = {}
    for name, sample in SAMPLES.items():
        try:
            sample_path(name)
        except ImageError:
            continue
        found[name] = sample
    return found


def load_sample(name: str) -> Image:
    """Read one sample through the intake; raises as `sample_path` does."""
    path = sample_path(name)
    return read_image(path.read_bytes(), path.name)
