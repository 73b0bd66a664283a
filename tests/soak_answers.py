"""What the Explain page must show, computed apart from any server: is an answer right, and the visitor's own?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlencode

from data import images
from models import zoo
from models.registry import Model
from xai import figures
from xai.comparison import Picture, Request, compare, picture_from_image, picture_from_scene
from xai.figures import Style
from xai.ui import explaining, words
from xai.view_words import view_sentences


@dataclass(frozen=True)
class Asked:
    """What a visitor asks the Explain page: a drawn scene, or an upload `(name, bytes)`, degraded so much."""

    models: tuple[str, ...]
    scene: int
    seed: int
    severity: float
    degradation: str = "gaussian_noise"
    upload: tuple[str, bytes] | None = field(default=None, repr=False)

    def link(self) -> str:
        """The part of the address that asks it; an upload is not part of one."""
        a, b = (*self.models, "")[:2]
        choices = {
            "a": a,
            "b": b,
            "degradation": self.degradation,
            "severity": self.severity,
            "seed": self.seed,
        }
        source = {"scene": self.scene} if self.upload is None else {"source": "upload"}
        return "?" + urlencode({**source, **choices})

    def picture(self) -> Picture:
        """The picture itself."""
        if self.upload is None:
            return picture_from_scene("test", self.scene)
        name, content = self.upload
        return picture_from_image(images.read_image(content, name))


@dataclass(frozen=True)
class Seen:
    """What a visitor saw: the figure's description, the hash of its file, and the words of the page."""

    alt: str
    sha256: str
    text: str


@cache
def _model(name: str) -> Model:
    return zoo.load(name)


def problem(asked: Asked, seen: Seen) -> str:
    """What is wrong with an answer, empty for one that is right and the visitor's own."""
    request = Request(asked.models, degradation=asked.degradation, severity=asked.severity, seed=asked.seed)
    done = compare(request, asked.picture(), [_model(name) for name in asked.models])
    if seen.alt != (alt := words.caption(done)):
        return f"{asked} was answered {seen.alt!r}, not {alt!r}"
    if missing := [each for each in view_sentences(done) if _plain(each) not in _plain(seen.text)]:
        return f"{asked} was answered without {missing}"
    drawn = figures.render(figures.comparison_figure(done, Style()), "png", explaining.PAGE_DPI, quick=True)
    return (
        "" if hashlib.sha256(drawn).hexdigest() == seen.sha256 else f"{asked} was answered by another figure"
    )


def _plain(text: str) -> str:
    """Letters and numbers alone: a browser shows `->` as an arrow."""
    return " ".join(re.findall(r"[\w.]+", text))


def problems(answers: Iterable[tuple[Asked, Seen]]) -> list[str]:
    """What is wrong with answers, each of a process of its own or all of one."""
    return [found for asked, seen in answers if (found := problem(asked, seen))]
