"""What a user takes home from the Compare page: the whole report, and the reports that come with the project."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress

import streamlit as st

from xai.compare import kept, story
from xai.compare.run import Compared
from xai.compare.study import Facts, Study
from xai.evaluation import Cancelled
from xai.export import safe_stem
from xai.ui import compare_data, explaining, state, widgets
from xai.ui.job import Report, Work
from xai.ui.job_panel import Words, engaged, panel

PANEL = panel(
    "comparison_report",
    Words(
        "parts",
        "Cancel the report",
        "It ends after the figure at hand.",
        "It goes on when you look at another page.",
        digits=1,
    ),
)

REPORT_HELP = "The page, figures, tables, rows and manifest as one archive: unpack it and open report.html."
IMAGES_HELP = "Off leaves out the figures that show single images, so that the report may be passed on."


def draw(study: Study, found: Compared) -> None:
    """The whole report as one file, made on demand and kept for a while, and the command that makes it."""
    st.divider()
    st.markdown("**The whole report**")
    st.caption(
        "A page to read, every figure as PDF, SVG and PNG, every table as CSV and LaTeX, a methods paragraph with the "
        "real settings, the rows behind all numbers, and a manifest from which it can be made again."
    )
    pictures = widgets.switch("With images of the dataset", "compare_pictures", True, help=IMAGES_HELP)
    key = ("comparison report", compare_data.state_of(study), tuple(found.found), pictures)
    kept_zip: bytes | None = explaining.results().get(key)
    title = f"report, {' against '.join(study.models)}, {study.dataset}"
    if kept_zip is not None:
        name = safe_stem("-".join(["compare", *study.models, study.dataset])) + ".zip"
        widgets.download("Report (.zip)", kept_zip, name, "application/zip", help=REPORT_HELP)
    elif not engaged(PANEL, key):
        PANEL.say_refused()
        if (seen := PANEL.seen()) is not None and seen.about == key:
            PANEL.say_error()
        st.button(
            "Make the report",
            on_click=PANEL.start,
            args=(title, _work(study, found, key, pictures), key),
            key="report",
            help="Draws every figure in three formats in the background, and gives one archive to download.",
        )
    st.code(_command(study), language="bash", wrap_lines=True)


def _work(study: Study, found: Compared, key: Hashable, pictures: bool) -> Work[None]:
    def run(report: Report, cancelled: Callable[[], bool]) -> None:
        def told(done: float, total: float, what: str) -> None:
            if cancelled():
                raise Cancelled
            report(done, total, what)

        with suppress(Cancelled):
            bench = compare_data.server_bench(study) if pictures else None
            files = story.files(found, bench, told=told)
            explaining.results()(key, lambda: zipped(files))

    return run


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files by name as a ZIP, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _command(study: Study) -> str:
    """What does the same on the command line."""
    a, b = (shlex.quote(name) for name in study.models)
    words = [f"python -m xai compare {a} {b} --dataset {shlex.quote(study.dataset)} --split {study.split}"]
    words += [
        f"--limit {study.limit or 'all'} --method {study.method} --scale {study.scale} --seed {study.seed}"
    ]
    words.append(f"--degradations {' '.join(study.degradations or ('none',))}")
    if any(study.layers):
        words.append(f"--layers {' '.join(shlex.quote(layer or 'default') for layer in study.layers)}")
    return " ".join([*words, "--out report"])


def offer_shipped() -> None:
    """Buttons for the comparisons that come with the project."""
    found = [facts for _, facts in kept.shipped()]
    if not found:
        return
    st.markdown("These come with the project, and open at once:")
    for number, facts in enumerate(found):
        names = " against ".join(network.name for network in facts.networks)
        st.button(
            widgets.plain(f"{names}, {facts.study.dataset} {facts.study.split}, {facts.images:,} images"),
            key=f"shipped comparison {number}",
            on_click=_open,
            args=(facts,),
            icon=":material/arrow_forward:",
            help="Chooses these networks and images on the left; the answers are there already.",
        )


def _open(facts: Facts) -> None:
    """Choose what a shipped comparison is of."""
    study = facts.study
    choices = {
        "a": [study.models[0]],
        "b": [study.models[1]],
        "compare_images": [study.dataset],
        "compare_split": [study.split],
        "compare_count": ["all" if study.limit is None else str(study.limit)],
        "compare_method": [study.method],
        "compare_scale": [study.scale],
        "compare_seed": [str(study.seed)],
    }
    state.adopt({name: values for name, values in choices.items() if explaining.cards()})
    st.session_state[state.CHOICES].pop("compare_degradations", None)
    st.session_state.pop(f"compare_degradations {study.scale}", None)
