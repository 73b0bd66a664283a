"""The channel's counterpart in network B, and how alike the layers of both networks are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import streamlit as st

from data import degradations
from models.registry import Model
from xai import channel_export, cka, counterparts, export, feature_maps, figure_counterparts
from xai.counterparts import Chance, Correlations, Neighbour, Pair
from xai.ui import (
    channel_data,
    channel_images,
    channel_jobs,
    controls,
    explaining,
    layer_choice,
    links,
    network_data,
    state,
    take_home,
    widgets,
)
from xai.ui.channel_choice import Chosen, logits
from xai.ui.channel_data import Images
from xai.ui.job import Report
from xai.ui.layer_choice import MATCH

KEYS = ("feature_layer_b", "degradation", "scale", "severity", "seed")
NEAREST = 5
CKA_IMAGES = 1_000
OPEN_HELP = "Shows that one on this page; the networks change places."
SHUFFLES = 200
Found = tuple[Correlations, tuple[Neighbour, ...], tuple[Pair, ...], Chance, tuple[Chance, Chance]]


def counterpart(chosen: Chosen) -> None:
    """The channels of B that answer most like this one, beside what chance gives."""
    picked = channel_images.images(chosen)
    other = chosen.other
    if picked is None or other is None:
        st.info("Choose network B on the left, and images above that both networks can be shown.")
        return
    if other.input_size != chosen.model.input_size:
        st.info("Both networks have to take images of one size, so that they see the same.")
        return
    layer = _layer_of_b(chosen)
    found, best, pairs, of_all, chances = _compared(chosen, layer, picked)
    rows = [_row(each, pairs, chosen) for each in best]
    if not rows:
        st.info("This channel answers the same to every image, so it has no counterpart.")
        return
    widgets.table(rows)
    st.caption(widgets.plain(_sentence(chosen, layer, picked, chances)))
    _links(chosen, layer, best)
    key, stem = ("matched", *_key(chosen, layer, picked)), f"counterpart-{chosen.stem}-in-{other.name}"
    network_data.show(
        key,
        lambda: figure_counterparts.matched_figure(
            found,
            pairs,
            of_all,
            (f"{chosen.layer} of {chosen.model.name}", f"{layer} of {other.name}"),
            chosen=Pair(chosen.channel, best[0].b, best[0].r),
            interval=best[0],
            called=(_called(chosen.model, chosen, chosen.channel), _called(other, chosen, best[0].b)),
        ),
        stem,
        f"Correlations of matched channels of {chosen.layer} and {layer}, and the responses of the best pair.",
        "content",
    )
    asked = {**chosen.facts, "layer_b": layer, "images": asdict(picked), "shuffles": SHUFFLES}
    asked |= {"chance": chances[0].level, "chance_within_classes": chances[1].level}
    take_home.rows_and_manifest(
        stem,
        lambda: channel_export.counterpart_rows(chosen.channel, best, pairs),
        lambda: channel_export.manifest("counterpart", [chosen.model, other], asked),
    )


def _called(model: Model, chosen: Chosen, channel: int) -> str:
    """A channel by its number, or by its class where classes are looked at."""
    return model.classes[channel] if chosen.class_name else f"channel {channel}"


def _layer_of_b(chosen: Chosen) -> str:
    assert chosen.other is not None
    if chosen.class_name:
        return logits(chosen.other).name
    fits = feature_maps.layer_at_depth(chosen.model, chosen.layer, chosen.other)
    words = {MATCH: f"same relative depth: {fits}"}
    layer = layer_choice.choose(chosen.other, "feature_layer_b", MATCH, "Layer of B", words)
    return fits if layer == MATCH else layer


def _key(chosen: Chosen, layer: str, picked: Images) -> tuple[object, ...]:
    assert chosen.other is not None
    hashes = (chosen.model.name, chosen.model.card.sha256, chosen.other.name, chosen.other.card.sha256)
    return (*hashes, chosen.layer, layer, chosen.channel, picked)


def _compared(chosen: Chosen, layer: str, picked: Images) -> Found:
    """Correlations of all channels, the nearest ones, the matched pairs, and what shuffled images give: the channels of
    A, and this one, when all are shuffled and when those of each class are."""
    assert chosen.other is not None
    a = channel_data.responses(chosen.model, chosen.layer, picked)
    b = channel_data.responses(chosen.other, layer, picked)

    def both() -> tuple[Correlations, tuple[Pair, ...], Chance]:
        with st.spinner("Matching the channels of both layers."):
            found = counterparts.correlations(a.mean, b.mean)
            return found, counterparts.match(found), counterparts.chance(found)

    found, pairs, of_all = explaining.results()(("pairs", *_key(chosen, layer, picked)[:6], picked), both)
    best = counterparts.nearest(found, chosen.channel, NEAREST)
    chances = [
        counterparts.chance(found, (chosen.channel,), shuffles=SHUFFLES, labels=labels)
        for labels in (None, a.labels)
    ]
    return found, best, pairs, of_all, (chances[0], chances[1])


def _row(each: Neighbour, pairs: tuple[Pair, ...], chosen: Chosen) -> dict[str, object]:
    assert chosen.other is not None
    matched = any(pair.a == chosen.channel and pair.b == each.b for pair in pairs)
    one = {"class of B": chosen.other.classes[each.b]} if chosen.class_name else {"channel of B": each.b}
    return {
        **one,
        "correlation": f"{each.r:.2f}",
        "95 % interval": f"{each.low:.2f} to {each.high:.2f}",
        "matched one to one": "yes" if matched else "no",
    }


def _sentence(chosen: Chosen, layer: str, picked: Images, chances: tuple[Chance, Chance]) -> str:
    return (
        f"Correlation of the mean responses of {chosen.channel_words} and the channels of {layer} of B over "
        f"{picked.words}; 95 % of the best correlations stay below {chances[0].level:.2f} when the images of B are "
        f"shuffled ({SHUFFLES} times), and below {chances[1].level:.2f} when they are shuffled within their classes: "
        "so much do channels share that know the class and no more. Matched one to one: all channels of both layers "
        "are paired so that the sum of their correlations is the largest (Hungarian method). Intervals do not know "
        "that the pair was picked."
    )


def _links(chosen: Chosen, layer: str, best: tuple[Neighbour, ...]) -> None:
    assert chosen.other is not None
    name = _called(chosen.other, chosen, best[0].b)
    label = f"Open class {name} of B" if chosen.class_name else f"Open {name} of {layer} of B"
    if st.button(widgets.plain(label), icon=":material/open_in_new:", help=OPEN_HELP):
        if chosen.class_name:
            state.adopt({"a": [chosen.other.name], "b": [chosen.model.name], "class": [name]})
        else:
            state.adopt(links.channel(chosen.other.name, layer, best[0].b, chosen.model.name))
        st.rerun()


def layers(chosen: Chosen) -> None:
    """CKA of all stages of both networks, clean and degraded: a job, as it takes a while."""
    picked = channel_images.images(chosen)
    other = chosen.other or chosen.model
    if picked is None or other.input_size != chosen.model.input_size:
        st.info("Choose images above that both networks can be shown; both have to take images of one size.")
        return
    degrading = controls.degrading(chosen.model.input_size)
    images = Images(picked.name, picked.split, min(picked.count, CKA_IMAGES))
    hashes = (chosen.model.name, chosen.model.card.sha256, other.name, other.card.sha256)
    key = ("cka", *hashes, degrading, images)
    pairs = cka.panels(chosen.model, other, degrading.degradation, degrading.severity)

    def make(report: Report, cancelled: Callable[[], bool]) -> tuple[cka.CkaMatrix, ...]:
        data = images.open()
        size = chosen.model.input_size
        scale = degrading.scale or degradations.default_scale(size, size)
        return cka.cka_matrices(
            pairs, data, scale=scale, seed=degrading.seed, progress=report, cancelled=cancelled
        )

    found = channel_jobs.kept(key)
    if found is None:
        st.caption(f"Every stage of A is compared with every stage of B over {images.words}.")
        title = f"CKA of {chosen.model.name} and {other.name}"
        channel_jobs.offer(title, "Compare the layers", key, make, unit="images")
        return
    stem = export.safe_stem(f"cka-{chosen.model.name}-{other.name}-{images.name}")
    network_data.show(
        (*key, "figure"),
        lambda: figure_counterparts.cka_figure(found),
        stem,
        f"Linear CKA of the stages of {chosen.model.name} and {other.name}.",
        "content",
    )
    asked = {"images": asdict(images), "degrading": asdict(degrading)}
    take_home.rows_and_manifest(
        stem,
        lambda: channel_export.cka_rows(found),
        lambda: channel_export.manifest("cka", [chosen.model, other], asked),
    )
