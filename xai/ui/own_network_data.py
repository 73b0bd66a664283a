"""What a visitor's file of weights holds and fits, and the network built from it: known once, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st
from torch import Tensor

from models import state_dicts, third_party
from models.import_request import Request
from models.nearest import Fit
from models.state_dicts import Found
from models.third_party import Brought, Report
from xai.ui import explaining
from xai.ui.own_shelf import OwnFile

FILES_BUILT = 2
"""Networks that are built and not yet kept, of all visitors together; one that is gone is built again."""


@dataclass(frozen=True)
class Entry:
    """One set of weights of the file: where it lies, and how much of it there is."""

    path: str
    title: str
    tensors: int
    parameters: int
    kinds: str
    average: bool


@dataclass(frozen=True)
class Looked:
    """A report on a file without its numbers; `tensors` are name, shape and kind of each in the set that was taken."""

    kind: str
    entries: tuple[Entry, ...]
    taken: Entry
    others: tuple[str, ...]
    tensors: tuple[tuple[str, str, str], ...]
    fits: tuple[Fit, ...]
    lines: tuple[str, ...]


def looked(file: OwnFile, key: str | None = None, architecture: str | None = None) -> Looked:
    """What lies in the file, and how it fits the architecture (None: those that are nearest to it).

    Raises `StateDictError` or another `ValueError` with one sentence.
    """

    def look() -> Looked:
        found = third_party.inspect(file.path, architecture=architecture, key=key, name=file.name)
        return _without_numbers(found)

    known: Looked = explaining.results()(("own file", file.token, key, architecture), look)
    return known


def _without_numbers(report: Report) -> Looked:
    entries = {found.path: _entry(found) for found in report.contents.found}
    return Looked(
        report.contents.kind,
        tuple(entries.values()),
        entries[report.taken.path],
        report.contents.others,
        _tensors(report.taken.tensors),
        report.fits,
        tuple(report.lines()),
    )


def _entry(found: Found) -> Entry:
    parameters = sum(tensor.numel() for tensor in found.tensors.values() if tensor.is_floating_point())
    return Entry(found.path, found.title, len(found.tensors), parameters, found.kinds, found.average)


def _tensors(tensors: Mapping[str, Tensor]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (
            state_dicts.shown(name),
            "×".join(map(str, tensor.shape)) or "one number",
            str(tensor.dtype).removeprefix("torch."),
        )
        for name, tensor in tensors.items()
    )


def brought(file: OwnFile, request: Request) -> Brought:
    """The network as the request says, built once; raises `ImportRefused` with one sentence.

    Whether its name is free is not looked at before it is kept.
    """
    return _built(file.token, repr(request), file.path, file.name, replace(request, replace=True))


@st.cache_resource(show_spinner="Building the network.", max_entries=FILES_BUILT)
def _built(token: str, asked: str, _path: Path, _name: str, _request: Request) -> Brought:
    """The token and the words of the request tell one network from another."""
    return third_party.bring(_path, _request, name=_name)


def key_of(file: OwnFile, request: Request) -> tuple[str, str]:
    """What tells one way to bring a network from every other; its name plays no part."""
    return file.token, repr(replace(request, name=""))
