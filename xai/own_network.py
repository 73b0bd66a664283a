"""A first look at a network that somebody brought: does it predict sensibly, and is it fed as it was trained?

A network whose images are normalised otherwise than in its training still answers, only worse, and its heatmaps look
as sound as ever. So a few hundred images are run through it as chosen and under the likely alternatives, each of
which changes one thing: normalisation, order of the channels, framing. Nothing of the network is changed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.datasets import ImageSource, Progress, evenly_spread
from data.images import read_image, to_float
from data.resizing import resize, resize_pixels
from data.samples import available_samples, load_sample
from models.import_request import NORMALIZATIONS
from models.registry import Model
from xai.hooks import frozen
from xai.own_network_rows import Answers, Check, Row, in_percent, rows_of
from xai.statistics import paired_difference
from xai.tables import p_value

IMAGES = 200
"""Images that are looked at where no number is said."""
CHOSEN = "as chosen"
ALPHA = 0.05
_BATCH = 32
_CONSTANT = 0.9
"""Share of the images that one class gets from which on a network is called constant."""
_ZOOM = 7 / 8
_NEAR = 1e-4
_LEAST_SUM = 0.5
"""Below this the probabilities of an image, which sum to 1, were no numbers."""

Change = Callable[[Tensor], Tensor]
"""Images `(N, 3, S, S)` in [0, 1] to what the network is given in their place."""


class CheckError(ValueError):
    """A check that can't be made; the message is one sentence."""


def _constants(model: Model) -> tuple[Tensor, Tensor]:
    kept = model.network.get_submodule("normalize")
    return kept.mean.cpu(), kept.std.cpu()  # type: ignore[union-attr,operator,return-value]


def _renormalized(mean: Tensor, std: Tensor, own_mean: Tensor, own_std: Tensor, images: Tensor) -> Tensor:
    """Images of which the network's own normalisation makes what another would have made of the given ones."""
    return (images - mean) / std * own_std + own_mean


def _zoomed(images: Tensor) -> Tensor:
    size = images.shape[-1]
    side = max(round(_ZOOM * size), 1)
    start = (size - side) // 2
    return resize(images[..., start : start + side, start : start + side], size)


def alternatives(model: Model) -> dict[str, Change]:
    """The likely other ways to feed the network, each of which changes one thing."""
    own = _constants(model)
    found: dict[str, Change] = {}
    for name, values in NORMALIZATIONS.items():
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in values)
        if not all(torch.allclose(*pair, atol=_NEAR) for pair in zip((mean, std), own, strict=True)):
            found[f"normalisation {name}"] = partial(_renormalized, mean, std, *own)
    found["channels in the other order"] = lambda images: images.flip(1)
    found["zoomed in to 7/8"] = _zoomed
    return found


def match_classes(model: Model, classes: Sequence[str]) -> tuple[np.ndarray, str]:
    """The network's class of each of a dataset's classes `(C,)`, -1 where it has none, and how they were found.

    By name, whatever its case and separators; by position where no name agrees and there are as many of both.
    Raises `CheckError` when neither is possible.
    """
    known = {_plain(name): index for index, name in enumerate(model.classes)}
    found = np.array([known.get(_plain(name), -1) for name in classes])
    if (found >= 0).any():
        missing = int((found < 0).sum())
        left = f"; {missing:,} of them have no counterpart and are left out" if missing else ""
        return found, f"The images' classes are found by name{left}."
    if len(classes) == len(model.classes):
        return np.arange(len(classes)), "No class names agree: classes are taken in their order."
    raise CheckError(
        f"{model.name} knows {len(model.classes):,} classes and the images have {len(classes):,} others: none has the "
        "same name."
    )


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def check(model: Model, source: ImageSource, limit: int = IMAGES, progress: Progress | None = None) -> Check:
    """Run up to `limit` labelled images through the network as chosen and under each alternative.

    Raises `CheckError` when classes don't match, `DatasetError` when there are no images.
    """
    counterparts, words = match_classes(model, source.classes)
    labels = counterparts[source.labels.numpy()]
    usable = source.take(torch.from_numpy(np.flatnonzero(labels >= 0)))
    some = evenly_spread(usable, limit)
    images = resize(to_float(some.pixels(slice(0, len(some)))), model.input_size)
    views = _views(model, images)
    if (squashed := _squashed(some, model.input_size)) is not None:
        views["whole picture, its aspect ignored"] = squashed
    answers = _all_answers(model, views, counterparts[some.labels.numpy()], progress)
    return Check(rows_of(answers), (*_sentences(model, answers), words))


def check_samples(model: Model, progress: Progress | None = None) -> Check:
    """As `check_unlabelled`, of the sample pictures that come with installed packages."""
    pictures = [load_sample(name).pixels for name in available_samples()]
    if not pictures:
        raise CheckError("no sample pictures are installed; name a dataset.")
    images = torch.cat([resize_pixels(pixels, model.input_size) for pixels in pictures])
    return check_unlabelled(model, images, progress)


def _views(model: Model, images: Tensor) -> dict[str, Tensor]:
    """The images as chosen and under each alternative."""
    return {CHOSEN: images, **{name: change(images) for name, change in alternatives(model).items()}}


def _squashed(source: ImageSource, size: int) -> Tensor | None:
    """Pictures of a folder that are not square, without the crop; None where all are, or there are no files."""
    root = getattr(source, "root", None)
    if not isinstance(root, Path):
        return None
    pictures = [read_image((root / name).read_bytes(), name).pixels for name in source.ids]
    if all(pixels.shape[1] == pixels.shape[2] for pixels in pictures):
        return None
    return torch.cat([resize_pixels(pixels, size, "squash") for pixels in pictures])


def check_unlabelled(model: Model, images: Tensor, progress: Progress | None = None) -> Check:
    """As `check`, of images `(N, 3, H, W)` in [0, 1] whose classes are not known: how predictions spread."""
    answers = _all_answers(model, _views(model, resize(images, model.input_size)), None, progress)
    return Check(rows_of(answers), tuple(_sentences(model, answers)))


def _all_answers(
    model: Model, views: dict[str, Tensor], labels: np.ndarray | None, progress: Progress | None
) -> list[Answers]:
    answers = []
    for done, (name, images) in enumerate(views.items()):
        answers.append(Answers(name, _probabilities(model, images), labels))
        if progress:
            progress(done + 1, len(views), "trying ways to feed the network")
    return answers


def _probabilities(model: Model, images: Tensor) -> np.ndarray:
    parts = []
    for batch in images.split(_BATCH):
        with model.lock, frozen(model.network):  # let go between batches, for others wait for it
            parts.append(model.predict(batch).cpu())
    return torch.cat(parts).nan_to_num(0.0).numpy()


def _sentences(model: Model, answers: Sequence[Answers]) -> list[str]:
    rows, chosen = rows_of(answers), answers[0]
    if chosen.labels is None:
        return [*_number_words(chosen), *_spread_words(rows[0], len(model.classes)), _steadiness(answers)]
    return [
        *_number_words(chosen),
        *_best_words(rows),
        *_chance_words(rows[0], chosen),
        *_spread_words(rows[0], len(model.classes)),
        *_order_words(model, chosen),
    ]


def _best_words(rows: Sequence[Row]) -> list[str]:
    """What fits best, and whether the chosen way is worse beyond chance."""
    chosen, best = rows[0], max(rows, key=lambda row: row.accuracy or 0)
    if best is chosen:
        return [f"The chosen way fits best: {_accuracy(chosen)}."]
    surely = best.p_value is not None and best.p_value < ALPHA
    verdict = "is better beyond chance" if surely else "is not better beyond chance"
    advice = "; import it that way" if surely else ""
    return [
        f"{best.alternative} fits best: {_accuracy(best)}, against {_accuracy(chosen)} as chosen, and {verdict}"
        f" (p {_p_words(best.p_value)}){advice}."
    ]


def _p_words(value: float | None) -> str:
    words = p_value(value)
    return words if words.startswith("<") else f"= {words}"


def _accuracy(row: Row) -> str:
    interval = f"{in_percent(row.low)} to {in_percent(row.high)}"
    return f"{in_percent(row.accuracy)} % right ({interval}, {row.images:,} images)"


def _chance_words(row: Row, chosen: Answers) -> list[str]:
    """Whether the accuracy is what the commonest class alone would give."""
    assert chosen.labels is not None
    level = float(np.bincount(chosen.labels).max() / len(chosen.labels))
    if row.low is None or row.low > level:
        return []
    return [
        f"This can't be told from guessing (the commonest class alone gives {in_percent(level)} %): don't trust a "
        "heatmap of it before that is understood."
    ]


def _spread_words(row: Row, classes: int) -> list[str]:
    if row.images > 1 and row.commonest >= _CONSTANT:
        share = f"{in_percent(row.commonest)} % of {row.images:,} images"
        return [f"It answers almost always the same: one class has {share}."]
    entropy = f"entropy is {in_percent(row.entropy)} % of the largest there is"
    return [f"It predicts {row.classes:,} of its {classes:,} classes; {entropy}."]


def _number_words(answers: Answers) -> list[str]:
    """A warning about images for which the network gives no numbers."""
    bad = int((answers.probabilities.sum(axis=1) < _LEAST_SUM).sum())
    return (
        [f"For {bad:,} images it gives values that are not finite: its weights are damaged."] if bad else []
    )


def _steadiness(answers: Sequence[Answers]) -> str:
    """Without labels: under which way the network is surest, which proves nothing."""
    surest = min(answers, key=lambda each: each.entropy)
    return f"It is surest {_as(surest)}; without the right classes that is a hint and no proof."


def _as(answers: Answers) -> str:
    return answers.alternative if answers.alternative == CHOSEN else f"with {answers.alternative}"


def _order_words(model: Model, chosen: Answers) -> list[str]:
    """Whether the class names seem to stand in another order than the outputs: a hint where it explains more."""
    labels, predicted = chosen.labels, chosen.predicted
    assert labels is not None
    orders = _orders(model.classes, labels, predicted)
    scored = {name: paired_difference(order == labels, predicted == labels) for name, order in orders.items()}
    name = max(scored, key=lambda each: scored[each].difference)
    found, least = scored[name], ALPHA / len(scored)
    if found.difference <= 0 or found.p_value >= least:
        return []
    gain = f"{in_percent(found.difference)} points more would be right (p {_p_words(found.p_value)})"
    return [f"Hint: if the class names {name}, {gain}."]


def _orders(classes: Sequence[str], labels: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The predictions `(N,)` if the class names stood in other likely orders."""
    count = len(classes)
    alphabet = np.argsort([name.casefold() for name in classes], kind="stable")
    return {
        "stand in alphabetical order in the head": alphabet[predicted],
        "are shifted by one": (predicted + 1) % count,
        "are shifted by one the other way": (predicted - 1) % count,
        "are permuted": _permuted(labels, predicted, count),
    }


def _permuted(labels: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Predictions renamed by the best permutation of classes, found for each half of the images on the other half."""
    from scipy.optimize import linear_sum_assignment

    renamed, half = np.empty_like(predicted), np.arange(len(labels)) % 2
    for part in (0, 1):
        seen = np.zeros((count, count))
        np.add.at(seen, (predicted[half != part], labels[half != part]), 1)
        # a tie goes to the names as they are, so that unseen classes stay where they were
        renamed[half == part] = linear_sum_assignment(-(seen + 1e-3 * np.eye(count)))[1][
            predicted[half == part]
        ]
    return renamed
