"""All channels of a layer on the pages of one PDF: what each looks for, and the parts of images that excite it most.

Every visualisation is kept (`visualization_store`) as soon as it is made, so a sheet that was stopped goes on where it
was. Only the pictures of one page are held at a time, and the PDF appears when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data.datasets import ImageSource
from models.files import write_by_rename
from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.channel_profile import boxes, top_images
from xai.evaluation import Cancelled
from xai.feature_visualization import Settings
from xai.figure_visualization import (
    CROPS,
    Figure,
    SheetCell,
    cells_on_a_page,
    pixel_words,
    sheet_page,
    value_words,
    write_pages,
)
from xai.responses import Responses, collect
from xai.visualization_export import sentences
from xai.visualization_objectives import layer_shape
from xai.visualization_store import Kept, Store, stored

Report = Callable[[float, float, str], None]
"""Called as `report(done, total, what)`."""


@dataclass(frozen=True)
class Made:
    """A sheet that was written: its file, how many pages and channels it has."""

    path: Path
    pages: int
    channels: int


@dataclass(frozen=True)
class _Work:
    """Everything that the pages of one sheet share."""

    model: Model
    layer: str
    settings: Settings
    data: ImageSource | None
    missing: str
    channels: tuple[int, ...]
    store: Store | None
    report: Report
    cancelled: Callable[[], bool]

    @property
    def per_page(self) -> int:
        """Channels on a page."""
        return cells_on_a_page(crops=self.data is not None)


def make(
    model: Model,
    layer: str,
    settings: Settings | None,
    data: ImageSource | None,
    out: Path,
    progress: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    *,
    channels: Sequence[int] | None = None,
    missing: str = "",
    store: Store | None = None,
) -> Made:
    """Write the sheet of a layer, or of some of its channels, as the PDF `out`, by rename.

    `data` are the images to look for the most exciting ones in; without them, `missing` is a sentence on every page
    that says why there are none. `progress(done, total, what)` counts channels, once the images have been looked at.
    Raises `ExplanationError` for an unknown layer or channel, and `Cancelled`: the visualisations that were finished
    are kept.
    """
    settings = (settings or Settings()).resolved(model)
    assert settings.size is not None
    chosen = checked_channels(model, layer, settings.size, channels)
    tell, stop = progress or (lambda *_told: None), cancelled or (lambda: False)
    work = _Work(model, layer, settings, data, missing, chosen, store, tell, stop)
    seen = _responses(work)
    pages = 0

    def write(path: Path) -> None:
        nonlocal pages
        pages = write_pages(path, _pages(work, seen))

    write_by_rename(out, write)
    return Made(out, pages, len(chosen))


def checked_channels(
    model: Model, layer: str, size: int, channels: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The channels asked for, or all; raises `ExplanationError` for an unknown layer or channel."""
    count = layer_shape(model, layer, size)[0]
    for channel in channels or ():
        if not 0 <= channel < count:
            raise ExplanationError(
                f"the channel is {channel}; {layer} of {model.name} has the channels 0 to {count - 1}."
            )
    return tuple(range(count)) if channels is None else tuple(dict.fromkeys(channels))


def _responses(work: _Work) -> Responses | None:
    """What the layer answers to the images."""
    if work.data is None:
        return None
    look = collect(work.model, work.data, [work.layer], progress=work.report, cancelled=work.cancelled)
    return look[work.layer]


def _pages(work: _Work, seen: Responses | None) -> Iterator[Figure]:
    """One page after the other, each made when it is asked for."""
    count = -(-len(work.channels) // work.per_page)
    for number in range(count):
        start = number * work.per_page
        chosen = work.channels[start : start + work.per_page]
        kept = _visualizations(work, chosen, start)
        cells = [_cell(work, channel, one, seen) for channel, one in zip(chosen, kept, strict=True)]
        title = f"{work.model.name}, {work.layer}: channels {chosen[0]} to {chosen[-1]}"
        foot = f"page {number + 1} of {count}"
        yield sheet_page(cells, title, _notes(work, kept[0], seen), foot, crops=seen is not None)
    work.report(len(work.channels), len(work.channels), f"channels of {work.layer}")


def _visualizations(work: _Work, channels: Sequence[int], before: int) -> tuple[Kept, ...]:
    """The pictures of one page, kept or made."""
    total = len(work.channels)
    what = f"channels of {work.layer}"

    def progress(done: int, of: int, _pictures: Tensor) -> None:
        work.report(before + len(channels) * done / of, total, what)

    if work.cancelled():
        raise Cancelled
    work.report(before, total, what)
    objectives = [f"channel:{work.layer}:{channel}" for channel in channels]
    return stored(
        work.model,
        objectives,
        work.settings,
        store=work.store,
        progress=progress,
        cancelled=work.cancelled,
    )


def _cell(work: _Work, channel: int, kept: Kept, seen: Responses | None) -> SheetCell:
    words = f"{channel}: {value_words(kept.value)}"
    if work.data is None or seen is None:
        return SheetCell(words, kept.image)
    best = [image for image in top_images(seen, channel, CROPS) if image.value != 0]
    if not best:
        silent = bool((seen.column(channel) == 0).any())
        why = "silent on all images" if silent else "no number for any image"
        return SheetCell(f"{words}, {why}", kept.image)
    size = tuple(work.data.pixels(slice(0)).shape[-2:])
    parts = boxes(work.model, seen, best, (size[0], size[1]))
    pixels = work.data.take(torch.tensor([image.row for image in best])).pixels(slice(0, len(best)))
    crops = tuple(
        box.crop(one).float() / 255 for box, one in zip(parts, pixels, strict=True) if all(box.size)
    )
    return SheetCell(f"{words}, images: {value_words(best[0].value)}", kept.image, crops)


def _notes(work: _Work, kept: Kept, seen: Responses | None) -> str:
    """What a page says of its pictures."""
    words = [
        "Left, a picture made to excite the channel, with the mean activation that it reaches."
        if seen is not None
        else "Pictures made to excite each channel, with the mean activation that they reach.",
    ]
    if work.data is not None and seen is not None:
        words.append(
            f"Right, the {CROPS} images of {work.data.name} {work.data.split} ({len(work.data):,} images) with the "
            "highest maxima, cut to what the strongest cell looks at, and the highest maximum."
        )
        words += seen.notes
    else:
        words.append(work.missing or "No images were given, so there are no examples.")
    assert work.settings.size is not None
    return " ".join([*words, sentences(kept.facts), pixel_words(work.settings.size, smooth=False)])
