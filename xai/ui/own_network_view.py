"""The file of weights on the page: its upload, what lies in it, and the architectures that it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from models import external, state_dicts
from models.nearest import Fit
from models.registry import ARCHITECTURES
from xai.ui import own_network_data, own_shelf, upload_room, widgets
from xai.ui.own_network_data import Entry, Looked
from xai.ui.own_shelf import OwnFile

UPLOADER, REFUSED = "own_network_uploader", "own_network_refused"
WHERE = {"nearest": "Nearest to the file", "ours": "Ours", "torchvision": "torchvision", "timm": "timm"}
TABLE_HEIGHT = 260
LIBRARY = "own_library"


def file() -> OwnFile | None:
    """Draw the upload; the file that lies on this visitor's shelf, None with what to do where there is none."""
    most = own_shelf.megabytes(state_dicts.DEFAULT_LIMITS.max_bytes)
    st.file_uploader(
        "File of weights",
        None,
        key=UPLOADER,
        on_change=_take,
        max_upload_size=most,
        help=f".safetensors, .pth, .pt or .ckpt, up to {most:,} MB: what is in it counts, not how its name ends. "
        "Weights alone are read. A larger file is brought in on the server, with `python -m xai import`.",
    )
    if refused := st.session_state.pop(REFUSED, None):
        st.error(widgets.plain(refused), icon=":material/error:")
    kept = own_shelf.shelf().file
    if kept is None:
        st.info("Choose a file of weights above. You are shown what is in it before anything is kept.")
    else:
        st.button(
            f"Forget {widgets.plain(kept.name)}",
            on_click=own_shelf.shelf().forget_file,
            icon=":material/delete:",
            help="The file is removed from this server; a network that was kept stays.",
        )
    return kept


def _take() -> None:
    """Put what was uploaded on the shelf; a file that can't be read leaves the one before where it is.

    Nothing is forgotten where the widget is empty: a browser empties it before it sends the next file.
    """
    uploaded = st.session_state[UPLOADER]
    if not own_shelf.is_new(uploaded):
        return
    try:
        upload_room.check(uploaded)
        own_shelf.shelf().put_file(uploaded, uploaded.name, uploaded.size)
    except ValueError as error:
        st.session_state[REFUSED] = str(error)
    own_shelf.release(uploaded)


def contents(found: OwnFile) -> Looked:
    """Draw what lies in the file and which of its sets of weights is taken; raises `ValueError` with one sentence."""
    wait = "Looking for the architectures that are nearest (the first time this takes some seconds)."
    with st.spinner(wait):
        known = own_network_data.looked(found)
    chosen = _entry(known)
    if chosen is not known.taken:
        with st.spinner(wait):
            known = own_network_data.looked(found, chosen.path)
    st.markdown(widgets.plain(f"{found.name}: {known.kind}, {found.bytes / 1e6:,.1f} MB."))
    widgets.table([_entry_row(entry, entry == known.taken) for entry in known.entries])
    if known.others:
        st.caption(widgets.plain(f"Left aside: {', '.join(known.others[:12])}."))
    with st.expander(f"All {len(known.tensors):,} tensors that are taken"):
        names, shapes, kinds = zip(*known.tensors, strict=True)
        rows("tensors that are taken", {"name": names, "shape": shapes, "kind": kinds})
    return known


def _entry(known: Looked) -> Entry:
    if len(known.entries) == 1:
        return known.taken
    titles = {entry.path: entry.title for entry in known.entries}
    help_words = (
        "Running averages of weights (EMA, SWA) usually do a little better, and are taken if you say so."
    )
    path = widgets.one_of(
        "Weights to take", "own_entry", list(titles), known.taken.path, titles.__getitem__, help=help_words
    )
    return next(entry for entry in known.entries if entry.path == path)


def _entry_row(entry: Entry, taken: bool) -> dict[str, object]:
    return {
        "in the file": entry.title,
        "tensors": f"{entry.tensors:,}",
        "numbers": f"{entry.parameters:,}",
        "kinds": entry.kinds,
        "running average": "yes" if entry.average else "no",
        "taken": "yes" if taken else "",
    }


def rows(what: str, columns: Mapping[str, Sequence[object]]) -> None:
    """A long table that scrolls."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    alt = f"Table of {len(frame)} {what}."
    st.dataframe(
        frame, hide_index=True, height=min(TABLE_HEIGHT, 38 * (len(frame) + 1)), placeholder="", alt=alt
    )


def fit(found: OwnFile, known: Looked) -> Fit | None:
    """Draw the choice of an architecture and how the file fits it; None where nothing can be built.

    Raises `ValueError` with one sentence, as for an architecture that offers no map.
    """
    widgets.table([_fit_row(each) for each in known.fits])
    chosen = _chosen(found, known)
    if chosen is None:
        return None
    (st.success if chosen.fits else st.warning)(widgets.plain(chosen.summary()))
    if chosen.prefix:
        st.caption(widgets.plain(f"The prefix {chosen.prefix!r} was taken off the names."))
    if chosen.dropped:
        st.caption(f"{len(chosen.dropped):,} weights of heads for training alone are left out.")
    _same(chosen)
    _differences(chosen)
    with st.expander("The report in words, as the command line has it"):
        st.code("\n".join(known.lines), language=None, wrap_lines=True)
    return chosen if _usable(chosen) else None


def _fit_row(each: Fit) -> dict[str, object]:
    return {
        "nearest architectures": each.title,
        "weights that agree": f"{100 * each.share:.0f} %",
        "missing": f"{len(each.missing):,}",
        "unexpected": f"{len(each.unexpected):,}",
        "of another shape": f"{len(each.mis_shaped):,}",
        "classes": "" if each.outputs is None else f"{each.outputs:,}",
    }


def _chosen(found: OwnFile, known: Looked) -> Fit | None:
    nearest = {each.architecture: each for each in known.fits}
    offered = WHERE if nearest else {name: words for name, words in WHERE.items() if name != "nearest"}
    where = widgets.one_of(
        "Architectures",
        "own_where",
        list(offered),
        next(iter(offered)),
        offered.__getitem__,
        st.radio,
        horizontal=True,
        help="Those that the weights resemble, or any that this project, torchvision or timm has.",
    )
    names = list(nearest) if where == "nearest" else _names(where)
    key = f"own_architecture {where}" + (f" {found.token}" if where == "nearest" else "")
    help_words = "The network that the weights are put into. Its options are found from their shapes."
    name = widgets.one_of("Architecture", key, names, names[0], help=help_words)
    if where == "nearest":
        return nearest[name]
    with st.spinner("Comparing the weights with the architecture."):
        return own_network_data.looked(found, known.taken.path, name).fits[0]


def _names(where: str) -> list[str]:
    if where == "ours":
        return sorted(name for name in ARCHITECTURES if ":" not in name)
    return [f"{where}:{name}" for name in external.known(where)]


def _same(chosen: Fit) -> None:
    if chosen.same:
        st.caption(
            widgets.plain(
                "These have weights of the same names and shapes, and may differ in what has none (activations, "
                f"strides): {', '.join(chosen.same)}."
            )
        )


def _differences(chosen: Fit) -> None:
    """Every name that does not fit, by the kind of its misfit."""
    kinds = {
        "missing from the file": chosen.missing,
        "in the file that are not in the architecture": chosen.unexpected,
        "of another kind of number": chosen.wrong_kind,
    }
    for words, names in kinds.items():
        if names:
            with st.expander(f"{len(names):,} weights {words}"):
                rows(f"weights {words}", {"name": [*map(state_dicts.shown, names)]})
    if chosen.mis_shaped:
        with st.expander(f"{len(chosen.mis_shaped):,} weights of another shape"):
            names, own, needed = zip(*chosen.mis_shaped, strict=True)
            rows(
                "weights of another shape",
                {"name": [*map(state_dicts.shown, names)], "in the file": [*map(_size, own)]}
                | {"needed": [*map(_size, needed)]},
            )


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"


def _usable(chosen: Fit) -> bool:
    """Whether a network can be built: all weights are there, and what is left over may be left out."""
    if not chosen.complete:
        st.info(
            "Choose another architecture: a network is built only where every weight is there in its shape. One that "
            "is not offered is built by a function of your own, with `python -m xai import --builder`."
        )
        return False
    if not chosen.unexpected:
        return True
    words = f"Leave out the {len(chosen.unexpected):,} weights that the architecture has not"
    help_words = "What they compute is missing then: the first check tells whether the network still works."
    return widgets.switch(words, "own_ignore", False, help=help_words)
