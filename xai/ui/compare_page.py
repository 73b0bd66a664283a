"""The Compare page from its first widget to its last figure."""

from __future__ import annotations

import streamlit as st

from xai.compare.run import Compared
from xai.compare.sections import Section, all_sections, section
from xai.compare.study import Study
from xai.ui import (
    compare_choice,
    compare_data,
    compare_pictures,
    compare_section,
    compare_take_home,
    showing,
    state,
    widgets,
)
from xai.ui.job_panel import engaged

KINDS = {
    True: (":material/call_split:", "What differs"),
    False: (":material/drag_handle:", "What was not found to differ"),
    None: (":material/help:", "Each network by itself, and what can't be said"),
}
"""How the answers are sorted: by whether the two networks differ."""

CLOSELY_HELP = "One question with its figures, tables, what was left out, and how it is measured."
START_HELP = (
    "Asks both networks about all images in the background; parts that are known already are not made again."
)


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        study = compare_choice.choose()
        about_link = st.container()
        _draw(study)
        state.write_link(compare_pictures.LINK_KEYS)
        with about_link:
            showing.ignored()


def _draw(study: Study) -> None:
    with st.spinner("Reading what is known of these two networks."):
        found = compare_data.compared(study)
    missing = [one for one in all_sections() if found is None or _is_missing(found, one.name)]
    if missing:
        _offer(study, found, missing)
    if found is None or not found.found:
        return
    _setting(found)
    _verdicts(found)
    compare_section.draw(study, found, _choose(found))
    compare_take_home.draw(study, found)


def _is_missing(found: Compared, name: str) -> bool:
    return name not in found.found and name not in found.skipped


def _offer(study: Study, found: Compared | None, missing: list[Section]) -> None:
    """How far the job is, or the button that starts one for the parts that are not there."""
    title = f"{study.models[0]} against {study.models[1]}, {study.dataset}"
    running = compare_data.PANEL.mine()
    if running is not None and running.about != study:
        words = f"Another comparison is being made: {running.title}. This one can be started then."
        st.info(widgets.plain(words))
    if engaged(compare_data.PANEL, study):
        return
    compare_data.PANEL.say_refused()
    job = compare_data.PANEL.seen()
    if job is not None and job.about == study:
        compare_data.PANEL.say_error()
    size = "All" if study.limit is None else f"{study.limit:,}"
    parts = ", ".join(each.title.lower() for each in missing)
    what = "This comparison has not been made yet" if found is None else f"Not measured yet: {parts}"
    st.info(
        widgets.plain(
            f"{what}. {size} images take some minutes on two processor cores; it goes on in the background, and "
            "each part is shown as soon as it is done."
        )
    )
    st.button(
        "Make the comparison" if found is None else "Measure what is missing",
        key="start comparison",
        on_click=compare_data.PANEL.start,
        args=(title, compare_data.work(study, tuple(missing)), study),
        icon=":material/play_arrow:",
        type="primary",
        help=START_HELP,
    )
    if found is None:
        compare_take_home.offer_shipped()


def _setting(found: Compared) -> None:
    """What the numbers are of."""
    facts = found.facts
    networks = "; ".join(
        f"{letter}: {one.name}, {one.layer} ({one.grid[0]} x {one.grid[1]})"
        for letter, one in zip("AB", facts.networks, strict=True)
    )
    words = f"{facts.images:,} images of {facts.study.dataset} {facts.study.split}. {networks}."
    st.caption(widgets.plain(" ".join([words, *facts.notes])))


def _verdicts(found: Compared) -> None:
    """The answers in one sentence each, sorted by what differs."""
    for kind, (icon, title) in KINDS.items():
        names = [name for name, said in found.found.items() if said.differs is kind]
        if not names:
            continue
        st.markdown(f"**{icon} {title}**")
        lines = [f"- **{section(name).title}.** {widgets.plain(found.found[name].verdict)}" for name in names]
        st.markdown("\n".join(lines))
    for name, why in found.skipped.items():
        st.caption(widgets.plain(f"{section(name).title}: {why}"))


def _choose(found: Compared) -> Section:
    """Which part is looked at closely."""
    names = list(found.found)
    titles = {name: section(name).title for name in names}
    st.divider()
    chosen = widgets.one_of(
        "Look closely at",
        "compare_part",
        names,
        names[0],
        titles.__getitem__,
        st.radio,
        horizontal=True,
        help=CLOSELY_HELP,
    )
    return section(chosen)
