"""Pictures on the page: the upload of a ZIP, what became of it, and what is in it."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace

import streamlit as st

from data import archive, folder_check, uploads
from data.datasets import DatasetError, Progress
from data.folder_listing import DEFAULT_SIZE, Skipped
from xai.ui import dataset_images, explaining, job_panel, own_network_view, own_shelf, upload_room, widgets
from xai.ui.own_shelf import Archive

UPLOADER, REFUSED, WAITING = "own_archive_uploader", "own_archive_refused", "own_archive_waiting"
SHOWN_PICTURES = 10
EVERY = 0.2
"""Seconds between two looks at how far it is."""


def choose() -> Archive | None:
    """Draw the upload and the choice among what was uploaded; None, with what to do, where there is nothing."""
    most = own_shelf.megabytes(archive.LIMITS.max_bytes)
    st.file_uploader(
        "ZIP of pictures",
        None,
        key=UPLOADER,
        on_change=_take,
        max_upload_size=most,
        help=f"One folder for each class, or folders train, validation and test with one for each class. Up to "
        f"{most:,} MB and {archive.LIMITS.max_entries:,} files. PNG, JPEG, WebP, BMP, TIFF or GIF. Masks may lie "
        "beside the pictures.",
    )
    _store()
    if refused := st.session_state.pop(REFUSED, None):
        st.error(widgets.plain(refused), icon=":material/error:")
    kept = own_shelf.shelf().archives
    if not kept:
        st.info("Choose a ZIP above. What was left out, and what is in it, is shown here.")
        return None
    return _one(kept)


def _one(kept: dict[str, Archive]) -> Archive:
    name = next(iter(kept))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(kept) > 1:
            help_words = "All of them are offered on the other pages, to you alone."
            name = widgets.one_of(
                "Pictures", "own_archive", list(kept), [*kept][-1], lambda n: kept[n].title, help=help_words
            )
        words = f"Forget {kept[name].title}"
        st.button(
            widgets.plain(words),
            on_click=own_shelf.shelf().forget_archive,
            args=(name,),
            icon=":material/delete:",
            help="They are removed from this server now; else soon after you leave.",
        )
    return kept[name]


def _take() -> None:
    """Note what was uploaded: it is unpacked while the page is drawn, which has a place for a bar."""
    uploaded = st.session_state[UPLOADER]
    if own_shelf.is_new(uploaded):
        st.session_state[WAITING] = uploaded


def _store() -> None:
    """Unpack what waits and look through it; a refusal is one sentence, and what was there before stays."""
    uploaded = st.session_state.get(WAITING)
    if uploaded is None:
        return
    place = st.empty()
    with place.container():
        st.button("Cancel", on_click=_stop_waiting, icon=":material/cancel:", help="Nothing of it is kept.")
        progress = bar()
        try:
            _put(uploaded, progress)
        except ValueError as error:
            st.session_state[REFUSED] = str(error)
    _stop_waiting()
    place.empty()


def _stop_waiting() -> None:
    """Let go of what waits: it is on the shelf, refused or not wanted."""
    uploaded = st.session_state.pop(WAITING, None)
    if uploaded is not None:
        own_shelf.release(uploaded)


def bar() -> Progress:
    """A bar that says how far something is and how long it still takes; drawn a few times a second."""
    place, started, drawn = st.empty(), time.monotonic(), 0.0

    def tell(done: int, total: int, what: str) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - drawn < EVERY and done < total:
            return
        drawn = now
        left = f", about {job_panel.duration((now - started) / done * (total - done))} left" if done else ""
        place.progress(done / max(total, 1), widgets.plain(f"{what}: {done:,} of {total:,}{left}"))

    return tell


def _put(uploaded: object, progress: Progress) -> None:
    upload_room.check(uploaded)
    shelf = own_shelf.shelf()
    if len(shelf.archives) >= own_shelf.MOST_ARCHIVES:
        raise DatasetError(
            f"you have {own_shelf.MOST_ARCHIVES} sets of pictures here already: forget one first."
        )
    name = str(uploaded.name)  # type: ignore[attr-defined]
    stored = uploads.store(uploaded, name, progress=progress)  # type: ignore[arg-type]
    put(stored, uploads.archive.display_name(name), progress)


def put(stored: uploads.Upload, title: str, progress: Progress | None) -> None:
    """Look through pictures that are held and put them on the shelf; they are let go if they are no dataset."""
    try:
        checked = folder_check.check(stored.name, progress)
    except BaseException as error:
        uploads.drop(stored.name)
        if isinstance(error, DatasetError):  # it speaks of a number that the visitor has never seen
            raise DatasetError(
                re.sub(r"\bthe upload [0-9a-f]{8}\b", lambda _found: title, str(error))
            ) from error
        raise
    own_shelf.shelf().put_archive(Archive(stored, title, checked, _sizes()))


def _sizes() -> tuple[int, ...]:
    """The sides in which they are offered: those of the networks here."""
    return tuple(sorted({DEFAULT_SIZE, *(card.input_size for card in explaining.cards().values())}))


def refresh(kept: Archive) -> Archive:
    """The same, offered also in the sides of networks that were kept since."""
    if kept.sizes == (sizes := _sizes()):
        return kept
    own_shelf.shelf().archives[kept.name] = found = replace(kept, sizes=sizes)
    return found


def report(kept: Archive) -> None:
    """Draw what is in the pictures: classes and splits, copies, masks, and what was left out and why."""
    found = kept.checked
    words = ", ".join(f"{count:,} {split}" for split, count in found.totals.items())
    st.markdown(widgets.plain(f"{kept.title}: {found.class_words}; {words}."))
    for problem in found.problems:
        st.error(widgets.plain(problem), icon=":material/error:")
    for sentence in found.copies_told:
        st.warning(widgets.plain(f"A test gets easier than it looks: {sentence}"))
    for sentence in _facts(kept):
        st.caption(widgets.plain(sentence))
    _pictures(kept)
    known = found.mapping.pairs if found.mapping else {}
    names = {"network's class": [known[name] or "(left out)" for name in found.classes]} if known else {}
    with st.expander(f"Pictures of each of the {len(found.classes):,} {'folders' if known else 'classes'}"):
        own_network_view.rows("classes", {"class": found.classes, **names, **found.counts})
    _left_out([*kept.upload.unpacked.skipped, *found.skipped])


def _facts(kept: Archive) -> list[str]:
    found = kept.checked
    facts = []
    if found.drawn:
        facts.append(
            f"Not given, so drawn from hashes of the paths, the same everywhere: {' and '.join(found.drawn)}."
        )
    if found.sizes:
        small, middle, large = (f"{width} × {height}" for width, height in found.sizes)
        facts.append(f"Sizes in px: smallest {small}, middle {middle}, largest {large}.")
    masks, pictures = sum(found.masks.values()), sum(found.totals.values())
    facts.append(
        f"Masks: {masks:,} of {pictures:,} pictures have one."
        if masks
        else "Masks: none found beside the pictures."
    )
    return facts


def _pictures(kept: Archive) -> None:
    """One picture of each of the first classes, to see that they are what they should be."""
    try:
        images = dataset_images.opened(kept.name, "all")
    except DatasetError as error:
        st.caption(widgets.plain(error))
        return
    labels = images.labels.tolist()
    rows = [
        labels.index(number) for number in range(min(len(images.classes), SHOWN_PICTURES)) if number in labels
    ]
    shown = [images.pixels(slice(row, row + 1))[0].permute(1, 2, 0).numpy() for row in rows]
    names = [images.classes[labels[row]] for row in rows]
    st.image(shown, [widgets.plain(name) for name in names], width=96, alt=names)


def _left_out(skipped: list[Skipped]) -> None:
    if not skipped:
        st.caption("Nothing was left out.")
        return
    kinds = Counter(each.reason for each in skipped).most_common(3)
    words = "; ".join(f"{count:,} {reason}" for reason, count in kinds)
    files = "1 file or folder" if len(skipped) == 1 else f"{len(skipped):,} files or folders"
    with st.expander(f"Left out: {files} ({widgets.plain(words)})"):
        names, reasons = zip(*skipped, strict=True)
        own_network_view.rows("files that were left out", {"file": names, "why": reasons})
