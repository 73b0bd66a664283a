"""Pictures of single images on the Compare page: where answers flip, and examples that were not chosen by eye."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from data.degradations import DEGRADATIONS
from xai.compare import kept
from xai.compare.example_choice import STRATEGIES, Proposal, percentiles_of, propose
from xai.compare.run import Compared
from xai.compare.sections import Section
from xai.compare.study import Study, of_degradation
from xai.export import safe_stem
from xai.results import Condition
from xai.ui import compare_choice, compare_data, explaining, links, network_data, showing, state, widgets

KEYS = (
    "flip_degradation",
    "flip_images",
    "example_strategy",
    "example_count",
    "example_seed",
    "example_condition",
    "example_images",
)
LINK_KEYS = (*compare_choice.KEYS, *KEYS, "compare_part")
"""What a link to the page may say."""
MOST_TYPED = 6
"""Images that a visitor may name for one figure."""
SPREAD = 3
TYPED_HELP = f"At most {MOST_TYPED} ids, as they stand under pictures and in tables. Empty: chosen by a rule."
STRATEGY_HELP = (
    "Every strategy is a rule that is fixed before a picture is seen; what it is stands below. Percentiles say "
    "how usual each image is within its class."
)
SEED_HELP = "Another seed draws other images by the same rule; the same seed draws the same ones."
FILM_HELP = "The degradation under which answers flip: images are shown just before and just after."
BESIDE_HELP = (
    "The strongest severity of one of the degradations of this comparison, shown beside the clean image."
)
DRAWERS: dict[str, Callable[[Study, Compared], None]] = {}


def draw(study: Study, found: Compared, section: Section) -> None:
    """What a section shows of single images; nothing for most of them."""
    if section.name in DRAWERS:
        DRAWERS[section.name](study, found)


def _drawer(name: str) -> Callable[[Callable[[Study, Compared], None]], Callable[[Study, Compared], None]]:
    """Decorator: pictures of the section with that name."""

    def add(function: Callable[[Study, Compared], None]) -> Callable[[Study, Compared], None]:
        if name in DRAWERS:
            raise ValueError(f"pictures of {name!r} are registered twice.")
        DRAWERS[name] = function
        return function

    return add


def _key(study: Study, *more: Any) -> tuple[Any, ...]:
    hashes = tuple(explaining.cards()[name].sha256 for name in study.models)
    return ("compare pictures", kept.plain(study), hashes, *more)


@_drawer("flips")
@st.fragment
def _flips(study: Study, found: Compared) -> None:
    """The images just before and just after they flip."""
    with showing.one_sentence():
        _film(study, found)
    state.write_link(LINK_KEYS)


def _film(study: Study, found: Compared) -> None:
    from xai.compare.filmstrip import filmstrip, spread_images
    from xai.figure_compare_flips import filmstrip_figure

    st.markdown("**Just before and just after the flip**")
    flips = found.rows["flips"]["flips"]
    names = list(found.facts.study.degradations)
    left, right = st.columns(2)
    with left:
        name = widgets.one_of(
            "Degradation",
            "flip_degradation",
            names,
            names[0],
            lambda one: DEGRADATIONS[one].title,
            help=FILM_HELP,
        )
    with right:
        typed = _typed("Images by id, separated by spaces", "flip_images", "spread over early and late flips")
    rows = _rows(study, typed) if typed else spread_images(flips, name, SPREAD)
    if not rows:
        st.info("No image flips with both networks under this degradation: name one by its id.")
        return
    how = "images named by hand" if typed else "images spread evenly over the order of their flips"

    def make() -> Any:
        strips = filmstrip(compare_data.bench_of(study), rows, name, found.rows["flips"])
        return filmstrip_figure(strips, note=f"Shown are {how}.")

    alt = f"{len(rows)} images just before and just after their flip, {DEGRADATIONS[name].title}."
    network_data.show(_key(study, "film", name, tuple(rows), how), make, f"flips-{name}", alt)


@_drawer("examples")
@st.fragment
def _examples(study: Study, found: Compared) -> None:
    """Examples by a strategy, a seed and a number, with their percentiles."""
    with showing.one_sentence():
        _gallery(study, found)
    state.write_link(LINK_KEYS)


def _gallery(study: Study, found: Compared) -> None:
    from xai.compare.examples import gallery

    proposal = _proposal(found)
    if not proposal.chosen:
        st.info("No image is eligible: choose another strategy or condition.")
        return
    record = proposal.record()
    digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()

    def make() -> Any:
        return gallery(compare_data.bench_of(study), proposal)

    alt = f"{len(proposal.chosen)} examples ({proposal.strategy}) with the heatmaps of both networks."
    network_data.show(_key(study, "gallery", digest), make, f"examples-{proposal.strategy}", alt)
    _to_explain(study, proposal)
    widgets.download(
        "How they were chosen (.json)",
        json.dumps(record, indent=2) + "\n",
        safe_stem(f"examples-{proposal.strategy}") + ".json",
        "application/json",
        help="The strategy, its seed, and the ids of the images with their percentiles: enough to choose them again.",
    )


def _proposal(found: Compared) -> Proposal:
    facts = found.facts
    columns = st.columns(4)
    with columns[0]:
        titles = {name: entry.title for name, entry in STRATEGIES.items()}
        strategy = widgets.one_of(
            "Chosen how", "example_strategy", list(titles), "random", titles.__getitem__, help=STRATEGY_HELP
        )
    with columns[1]:
        count = int(
            widgets.number(
                "How many",
                "example_count",
                (1, 12),
                6,
                1,
                st.number_input,
                help="Images in the figure, 1 to 12.",
            )
        )
    with columns[2]:
        seed = int(
            widgets.number(
                "Seed of the choice", "example_seed", (0, 2**31 - 1), 0, 1, st.number_input, help=SEED_HELP
            )
        )
    with columns[3]:
        condition = _condition(found)
    typed = _typed("Or images by id, separated by spaces", "example_images", "chosen as above")
    st.caption(widgets.plain(f"{STRATEGIES[strategy].title}: {STRATEGIES[strategy].how}."))
    if typed:
        return percentiles_of(facts, found.rows["examples"], typed[:MOST_TYPED], condition)
    return propose(facts, found.rows["examples"], count, seed, strategy, condition)


def _condition(found: Compared) -> Condition | None:
    """The strongest severity of one of the degradations, None where there is none."""
    study = found.facts.study
    offered = {name: of_degradation(study, name)[-1] for name in study.degradations}
    if not offered:
        return None
    names = list(offered)
    chosen = widgets.one_of(
        "Beside the clean image",
        "example_condition",
        names,
        names[0],
        lambda name: offered[name].title,
        help=BESIDE_HELP,
    )
    return offered[chosen]


def _typed(label: str, key: str, usual: str) -> tuple[str, ...]:
    """Ids of images that somebody typed."""
    text = widgets.text(label, key, state.MAX_LENGTH, placeholder=usual, help=TYPED_HELP)
    return tuple(dict.fromkeys(text.split()))


def _rows(study: Study, ids: tuple[str, ...]) -> list[int]:
    """Rows of images by their ids; raises `ValueError` for one that is not among the images."""
    known = {name: row for row, name in enumerate(compare_data.bench_of(study).data.ids)}
    if unknown := [name for name in ids if name not in known]:
        raise ValueError(
            f"{unknown[0]!r} is none of the {len(known):,} images; an id is such as {next(iter(known))}."
        )
    return [known[name] for name in ids[:MOST_TYPED]]


def _to_explain(study: Study, proposal: Proposal) -> None:
    """Links that open each example on the Explain page, with both networks and the degradation."""
    degraded: dict[str, list[str]] = {"degradation": ["none"]}
    if (condition := proposal.condition) is not None:
        degraded = {
            "degradation": [condition.degradation],
            "scale": [condition.scale],
            "severity": [f"{condition.severity:g}"],
            "seed": [str(study.seed)],
        }
    pair = {"a": [study.models[0]], "b": [study.models[1]]}
    parts = []
    for each in proposal.chosen:
        choices = {**links.picture(study.dataset, study.split, each.id), **pair, **degraded}
        parts.append(f"[{widgets.plain(each.id)}]({links.address(choices)})")
    st.markdown("Open in Explain: " + ", ".join(parts))
