"""What the Compare page compares: two networks, images, a heatmap method and degradations."""

from __future__ import annotations

import streamlit as st

from data import degradations
from data.catalogue import dataset
from data.datasets import DatasetError
from models.cards import Card
from xai.attribution import GRADIENT_CAMS, METHODS
from xai.compare.study import Study
from xai.evaluation_grid import PAPER
from xai.ui import dataset_images, explaining, help_texts, own_shelf, state, widgets

COUNTS = (200, 500, 1_000, 2_000)
USUAL_COUNT = "2000"
KEYS = (
    *("a", "b", "compare_images", "compare_split", "compare_count", "compare_method"),
    *("compare_layer_a", "compare_layer_b", "compare_scale", "compare_degradations", "compare_seed"),
)
NETWORK_B_HELP = (
    "What A is compared with: networks that take images of the same size and know some of its classes."
)
METHOD_HELP = "How evidence is found. HiResCAM is what a layer really adds to the score, on every network."
LAYER_HELP = (
    "Where the heatmaps are taken, with the grid. A deeper layer has a coarser grid and more meaning."
)
DEGRADATIONS_HELP = "What images are degraded by, at every severity of the scale. Each takes more passes."
PREFERRED = ("alexnet-cifar10-jpeg", "resnet18_cifar-w16-cifar10-jpeg")
"""How the names of the networks begin that a new visitor sees compared."""


def choose() -> Study:
    """Draw the choices in the column on the left; raises `NothingYet`, with what to do, where there are none."""
    with st.sidebar:
        st.subheader("Networks")
        models = _networks()
        st.subheader("Images")
        name, split, limit = _images(models)
        st.subheader("Heatmaps")
        method = widgets.one_of(
            "Method",
            "compare_method",
            GRADIENT_CAMS,
            "gradcam",
            lambda one: METHODS[one].title,
            help=METHOD_HELP,
        )
        layers = _layers(models)
        st.subheader("Degradations")
        scale, names = _degradations(dataset(name).image_size)
        seed = int(
            widgets.number(
                "Seed",
                "compare_seed",
                (0, 2**31 - 1),
                0,
                1,
                st.number_input,
                help="Of degradations, resamples and examples.",
            )
        )
    return Study(models, name, split, limit, method, layers, names, scale, seed)


def _networks() -> tuple[str, str]:
    """Two networks that take images of the same size."""
    known = explaining.cards()
    if not known:
        raise widgets.NothingYet(widgets.NO_NETWORK)
    liked = [next((name for name in known if name.startswith(start)), "") for start in PREFERRED]
    first, second = liked if all(liked) else explaining.first_choice(tuple(known))
    a = widgets.one_of("Network A", "a", list(known), first, help=help_texts.NETWORK_A)
    others = [name for name in known if name != a and _alike(known[name], known[a])]
    if not others:
        raise widgets.NothingYet(
            f"No other network knows the classes of {a} at its image size: choose another network A, or bring one "
            "in on the page Your own."
        )
    usual = second if second in others else others[0]
    return a, widgets.one_of("Network B", "b", others, usual, help=NETWORK_B_HELP)


def _alike(one: Card, other: Card) -> bool:
    return one.input_size == other.input_size and bool(set(one.classes) & set(other.classes))


def _images(models: tuple[str, str]) -> tuple[str, str, int | None]:
    """Images that both networks can be asked about."""
    cards = [explaining.cards()[name] for name in models]
    offered = [name for name in dataset_images.names().values() if all(_fits(name, card) for card in cards)]
    if not offered:
        raise widgets.NothingYet(
            "No dataset on this machine has images and classes of both networks: choose other networks, or bring "
            "pictures in on the page Your own."
        )
    usual = next((card.dataset for card in cards if card.dataset in offered), offered[0])
    name = widgets.one_of(
        "Images of", "compare_images", offered, usual, own_shelf.words(), help=help_texts.IMAGES_OF
    )
    splits = dataset(name).splits
    first = "test" if "test" in splits else splits[0]
    split = widgets.one_of("Their split", "compare_split", splits, first, help=help_texts.SPLIT_OF)
    words = {**{str(count): f"{count:,}" for count in COUNTS}, "all": "all"}
    count_help = "Fewer are spread evenly over the classes; intervals get wider."
    count = widgets.one_of(
        "How many", "compare_count", list(words), USUAL_COUNT, words.__getitem__, help=count_help
    )
    return name, split, None if count == "all" else int(count)


def _fits(name: str, card: Card) -> bool:
    try:
        found = dataset(name)
    except DatasetError:  # a folder that is no longer there
        return False
    return found.image_size == card.input_size and bool(set(found.classes) & set(card.classes))


def _layers(models: tuple[str, str]) -> tuple[str, str]:
    """What is tapped in each network; the networks are read for their layers only when somebody asks."""
    found = []
    with st.expander("Other layers"):
        more_help = "Maps of different grids are averaged down to the smaller one before they are compared."
        more = widgets.switch("Choose layers", "compare_more_layers", False, st.toggle, help=more_help)
        for letter, name in zip("ab", models, strict=True):
            key = f"compare_layer_{letter}"
            asked = more or st.session_state.get(state.CHOICES, {}).get(key, [""]) != [""]
            grids = explaining.layers(explaining.model(name)) if asked else {}
            words = {
                "": "the network's own",
                **{each: f"{each} ({h} x {w})" for each, (h, w) in grids.items()},
            }
            label = f"Layer of {letter.upper()}"
            found.append(widgets.one_of(label, key, list(words), "", words.__getitem__, help=LAYER_HELP))
    return found[0], found[1]


def _degradations(size: int) -> tuple[str, tuple[str, ...]]:
    fits = degradations.SCALES[degradations.resolve_scale(degradations.default_scale(size, size))]
    scale = widgets.one_of(
        "Scale of severity",
        "compare_scale",
        list(degradations.SCALES),
        "paper-relative",
        lambda name: degradations.SCALES[name],
        help=f"For images of {size} px the benchmark's own constants are those of {fits}.",
    )
    offered = degradations.degradations_in(scale)
    usual = [name for name in PAPER if name in offered] or list(offered[:1])
    chosen = widgets.some_of(
        "Degradations",
        "compare_degradations",
        offered,
        usual,
        lambda name: degradations.DEGRADATIONS[name].title,
        part=scale,
        help=DEGRADATIONS_HELP,
    )
    return scale, tuple(name for name in offered if name in chosen)
