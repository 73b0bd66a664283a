"""Somebody's own network: from a file of weights and the name of an architecture to one listed among the others.

`inspect` says what a file holds and what it fits; `bring` builds the network, and `keep` stores it in the local
folder as any other. Nothing in the file is run, and nothing is believed that its weights don't show: class names, input
size and normalisation are the user's word, which `xai.own_network` puts to the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import nearest, registry, zoo
from models.cards import IMPORTED, Card
from models.external import External
from models.import_request import (
    NORMALIZATIONS,
    UNKNOWN,
    ImportRefused,
    Request,
    check_name,
    check_request,
    class_names,
    in_words,
)
from models.layers import make_out_of_place
from models.nearest import Fit
from models.registry import Model
from models.state_dicts import DEFAULT_LIMITS, Contents, Found, Limits, read, shown, weights


@dataclass(frozen=True)
class Report:
    """What a file holds, which of its sets of weights was taken, and the architectures that it fits, best first."""

    contents: Contents
    taken: Found
    fits: tuple[Fit, ...]

    def lines(self) -> list[str]:
        """The report in words."""
        others = [found for found in self.contents.found if found is not self.taken]
        named = ", ".join(f"{shown(found.path)!r}" if found.path else "the file itself" for found in others)
        beside = ", ".join(self.contents.others[:8])
        return [
            f"{self.contents.name}: {self.contents.kind}, {self.contents.bytes / 1e6:.1f} MB.",
            f"Taken: {shown(self.taken.title)}, {len(self.taken.tensors):,} tensors ({self.taken.kinds})"
            + (", a running average of weights." if self.taken.average else "."),
            *([f"Not taken: {named}; --key NAME takes it."] if others else []),
            *([f"Left aside: {beside}."] if beside else []),
            *_strange(self.taken),
            *self._fit_lines(),
        ]

    def _fit_lines(self) -> list[str]:
        if not self.fits:
            return ["No architecture is known that these weights resemble."]
        best = self.fits[0]
        prefix = [f"The prefix {shown(best.prefix)!r} was taken off the names."] if best.prefix else []
        dropped = (
            [f"{len(best.dropped):,} weights of heads for training alone are left out."]
            if best.dropped
            else []
        )
        return [*best.lines(), *prefix, *dropped, *_likeness(self.fits)]


def _likeness(fits: Sequence[Fit]) -> list[str]:
    """What else the weights resemble; those with the same weights may still compute something else."""
    lines = []
    if fits[0].same:
        lines.append(
            f"These have weights of the same names and shapes, and may differ in what has none (activations, strides): "
            f"{', '.join(fits[0].same[:6])}."
        )
    if fits[1:]:
        others = ", ".join(f"{fit.title} ({100 * fit.share:.0f} %)" for fit in fits[1:])
        lines.append(f"Next nearest, by the share of weights that agree: {others}.")
    return lines


def _strange(found: Found) -> list[str]:
    """A warning about values that are no numbers."""
    bad = [
        name for name, tensor in found.tensors.items() if tensor.is_floating_point() and not _finite(tensor)
    ]
    return (
        [f"{len(bad):,} tensors hold values that are not finite, the first is {shown(bad[0])}."]
        if bad
        else []
    )


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().float().isfinite().all())


@dataclass(frozen=True, eq=False)
class Brought:
    """A network brought in and not yet kept: the model, the report on its file, and what was assumed."""

    model: Model
    report: Report
    notes: tuple[str, ...] = field(default=())


def inspect(
    path: Path,
    *,
    architecture: str | None = None,
    key: str | None = None,
    options: Mapping[str, Any] | None = None,
    input_size: int | None = None,
    name: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """What the file holds, and how it fits `architecture` (None: those nearest to it); `name` is its display name.

    Raises `StateDictError` for a file that can't be used, `ValueError` for an unknown architecture.
    """
    contents = read(path, name, limits)
    taken = contents.choose(key)
    fits: list[Fit] = []
    if architecture is not None:
        fits = [nearest.compare(taken.tensors, architecture, options, input_size)]
    if not fits or not fits[0].fits:
        known = nearest.nearest(taken.tensors, image_size=input_size)
        fits += [fit for fit in known if fit.share > 0 and fit.architecture != architecture]
    return Report(contents, taken, tuple(fits))


def bring(
    path: Path, request: Request, *, name: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> Brought:
    """Read the file and build its network as `request` says; `name` is the file's display name.

    Raises `ImportRefused` (or another `ValueError`) with one sentence for whatever can't be used or does not fit.
    """
    check_name(request.name, request.replace)
    check_request(request)
    report = inspect(
        path,
        architecture=request.architecture,
        key=request.key,
        options=request.options,
        input_size=request.input_size,
        name=name,
        limits=limits,
    )
    fit = _usable(report, request)
    return _brought(report, fit, request)


def _usable(report: Report, request: Request) -> Fit:
    """The fit to build; raises `ImportRefused` where weights are missing or left over."""
    if not report.fits:
        raise ImportRefused(f"{report.contents.name} resembles no architecture that is known here; name one.")
    fit = report.fits[0]
    if fit.complete and (not fit.unexpected or request.ignore_unexpected):
        return fit
    better = [other.title for other in report.fits[1:] if other.fits] or [
        each.title for each in report.fits[1:4]
    ]
    hint = f" Nearest: {', '.join(better[:3])}." if better and request.architecture else ""
    raise ImportRefused(f"{report.contents.name}: {_headless(fit) or fit.summary()}{hint}", fit)


def _headless(fit: Fit) -> str:
    """The sentence for weights that fit but for a head that is not there."""
    if fit.outputs is not None or fit.mis_shaped or len(fit.missing) > 2:
        return ""
    return f"the head that tells classes apart is missing ({', '.join(fit.missing)})."


def _brought(report: Report, fit: Fit, request: Request) -> Brought:
    outputs = fit.outputs or 0
    classes = class_names(request.classes, outputs)
    network = _unfilled(fit, outputs)
    state = {fit.names[key]: value for key, value in weights(report.taken).items() if key in fit.names}
    mean, std, words = _normalization(request.normalization, network, state)
    _fill(network, state, (mean, std), request.channels)
    model = zoo.wrap(network, zoo.describe(network, _card(report, fit, request, classes, (mean, std))))
    _check_outputs(model)
    unnamed = [] if request.classes else [f"No class names were given: the {outputs:,} classes are numbered."]
    return Brought(model, report, (*unnamed, *words))


def _unfilled(fit: Fit, outputs: int) -> nn.Module:
    return make_out_of_place(registry.build(fit.architecture, outputs, **fit.options))


def _normalization(
    asked: str | tuple[Sequence[float], Sequence[float]] | None, network: nn.Module, state: dict[str, Tensor]
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Mean and standard deviation, and what is to be said of where they come from."""
    own = [state.pop(f"normalize.{part}", None) for part in ("mean", "std")]
    if isinstance(asked, str):
        return *NORMALIZATIONS[asked], []
    if asked is not None:
        return tuple(asked[0]), tuple(asked[1]), []
    brought = [tuple(part.flatten().tolist()) for part in own if part is not None and part.numel() == 3]
    if len(brought) == 2:
        return brought[0], brought[1], ["The file brings its own normalisation."]
    kept = network.get_submodule("normalize")
    mean, std = (tuple(getattr(kept, part).flatten().tolist()) for part in ("mean", "std"))
    words = (
        f"No normalisation was given: mean {in_words(mean)} and std {in_words(std)} are assumed, as is usual."
    )
    return mean, std, [words]


def _fill(
    network: nn.Module, state: dict[str, Tensor], constants: tuple[Sequence[float], ...], channels: str
) -> None:
    """Put the weights where they belong; counters of steps that the file lacks stay 0."""
    prefix = "model." if isinstance(network, External) else ""
    whole = network.state_dict() | {prefix + key: value for key, value in state.items()}
    if channels == "bgr":
        _turn_channels(whole)
    for part, values in zip(("mean", "std"), constants, strict=True):
        whole[f"normalize.{part}"] = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    try:
        network.load_state_dict(whole)
    except RuntimeError as error:
        raise ImportRefused(
            "the weights can't be put into the architecture, though names and shapes agree."
        ) from error


def _turn_channels(state: dict[str, Tensor]) -> None:
    """Let the first convolution take red, green, blue where it was trained on blue, green, red."""
    first = [
        key
        for key, value in state.items()
        if value.ndim == 4 and value.shape[1] == 3 and "normalize" not in key
    ]
    if len(first) != 1:
        raise ImportRefused(
            f"{len(first)} convolutions take three channels; which one takes the image is not clear."
        )
    state[first[0]] = state[first[0]].flip(1)


def _card(
    report: Report,
    fit: Fit,
    request: Request,
    classes: tuple[str, ...],
    constants: tuple[Sequence[float], Sequence[float]],
) -> Card:
    named = request.normalization if isinstance(request.normalization, str) else "given or assumed"
    recipe = {
        "name": IMPORTED,
        "source": report.contents.name,
        "source_sha256": report.contents.sha256,
        "entry": shown(report.taken.path),
        "average": "yes" if report.taken.average else "no",
        "precision": report.taken.kinds,
        "normalization": named,
        "mean": in_words(constants[0]),
        "std": in_words(constants[1]),
        "channels": request.channels,
    }
    note = f"Imported from {report.contents.name}; its accuracy has not been measured here."
    return Card(
        request.name,
        fit.architecture,
        request.dataset,
        classes,
        request.input_size,
        seed=0,
        device=UNKNOWN,
        recipe=recipe,
        options=dict(fit.options),
        accuracy=dict.fromkeys(("test", "validation", "validation_lossless")),
        storage="float32",
        note=note,
    )


def _check_outputs(model: Model) -> None:
    """Run one grey image through it, as no page should be the first to."""
    size = model.input_size
    try:
        probabilities = model.predict(torch.full((1, 3, size, size), 0.5))
    except RuntimeError as error:
        raise ImportRefused(f"the network can't take an image of {size} x {size} px.") from error
    if probabilities.shape != (1, len(model.classes)):
        given = "x".join(map(str, probabilities.shape))
        raise ImportRefused(
            f"the network gives {given} numbers for one image of {len(model.classes):,} classes."
        )


def keep(brought: Brought, *, replace_it: bool = False, folder: Path | None = None) -> Card:
    """Store the network in the local folder (`zoo.local_folder()`), where everything finds it; returns its card.

    Raises `ImportRefused` when the name was taken in the meantime and `replace_it` is not set.
    """
    card, root = brought.model.card, folder or zoo.local_folder()
    check_name(card.name, replace_it)
    _forget(card.name, root)
    with brought.model.lock:
        return zoo.save(brought.model.network, card, _place(card.name, root), storage="float32")


def _place(name: str, root: Path) -> Path:
    """Folder of a network's files: its own, but where one of the name lies without, which would be found first."""
    return root if (root / f"{name}.json").is_file() else root / name


def files_of(name: str) -> list[Path]:
    """Card and weights of a network that `keep` stored in the local folder."""
    place = _place(name, zoo.local_folder())
    return [place / f"{name}{suffix}" for suffix in (".json", ".safetensors")]


def _forget(name: str, root: Path) -> None:
    """Remove the training curve and the predictions of a network that is replaced: they are not the new one's."""
    for path in (zoo.curve_path(name), zoo.predictions_path(name)):
        if path is not None and path.is_relative_to(root):
            path.unlink()
