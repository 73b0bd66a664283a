"""What a user takes home from the Explain page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import streamlit as st

from xai import export, figures
from xai.comparison import Comparison, Request
from xai.figures import Style
from xai.shares import Told, part
from xai.ui import explaining, pictures, widgets
from xai.ui.patience import patient

FORMATS: dict[str, tuple[str, int, str, str]] = {
    "PDF": ("pdf", 300, "figure.pdf", "application/pdf"),
    "SVG": ("svg", 300, "figure.svg", "image/svg+xml"),
    "PNG, 300 dpi": ("png", 300, "figure.png", "image/png"),
    "PNG, 600 dpi": ("png", 600, "figure-600dpi.png", "image/png"),
}
"""Label of a button: format, dots per inch, file name, media type."""
ARCHIVE = "archive"
ZIP_HELP = "Explains every picture with the choices of this page: figure, raw maps and manifest of each."


def draw(done: Comparison, style: Style) -> None:
    """Buttons for one picture; what they give is made when they are pressed."""
    stem = export.safe_stem(done.picture.name)
    with st.container(horizontal=True):
        for label, (file_format, dpi, name, media_type) in FORMATS.items():
            make = _figure_file(done, style, file_format, dpi)
            widgets.download(label, make, f"{stem}-{name}", media_type)
        widgets.download(
            "Raw maps (.npz)", lambda: export.npz(export.raw_arrays(done)), f"{stem}-heatmaps.npz"
        )
        manifest = f"{stem}-manifest.json"
        widgets.download(
            "Manifest (.json)", lambda: export.manifest_file(done, style), manifest, "application/json"
        )
    st.caption(
        "The manifest draws the same figure again: `python -m xai reproduce MANIFEST IMAGE`. "
        "PDF and SVG keep text as text."
    )


def _figure_file(done: Comparison, style: Style, file_format: str, dpi: int) -> Callable[[], bytes]:
    return lambda: figures.render(figures.comparison_figure(done, style), file_format, dpi)


def draw_all(offer: pictures.Offer, request: Request, style: Style) -> None:
    """One ZIP of every picture, made on demand with progress, and kept until something is chosen otherwise."""
    key = repr((offer.sources, request, style))
    if st.button(
        f"Make a ZIP of all {len(offer.sources)} pictures", icon=":material/folder_zip:", help=ZIP_HELP
    ):
        make = partial(_archive, offer, request, style)
        st.session_state[ARCHIVE] = (key, *patient(ARCHIVE, f"{len(offer.sources)} figures", make))
    made = st.session_state.get(ARCHIVE)
    if made and made[0] == key:
        for problem in made[2]:
            st.warning(widgets.plain(problem))
        widgets.download("Download the ZIP", lambda: made[1], "figures.zip", "application/zip")


def _archive(offer: pictures.Offer, request: Request, style: Style, told: Told) -> tuple[bytes, list[str]]:
    """The ZIP, and a sentence for each picture that is not in it."""
    problems: list[str] = []
    total = len(offer.sources)

    def bundles() -> Iterator[tuple[str, dict[str, bytes]]]:
        folders = export.folder_names(offer.names)
        for place, (source, folder) in enumerate(zip(offer.sources, folders, strict=True)):
            here = part(told, place, total)
            try:
                yield folder, _files(source, request, style, here)
            except ValueError as error:
                problems.append(f"{offer.names[place]} is not in the ZIP: {error}")
            here(1.0)

    return export.zip_bundles(bundles()), problems


def _files(source: str, request: Request, style: Style, told: Told) -> dict[str, bytes]:
    done = explaining.compared(request, pictures.open_picture(source), told)
    return export.bundle(done, style, every_width=False)
