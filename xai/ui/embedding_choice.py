"""What the Embeddings page arranges: images, networks and their layers, the kind of map, and a degradation."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from data import degradations
from data.catalogue import dataset
from data.datasets import DatasetError
from xai import embedding
from xai.embedding import LAYOUTS, PENULTIMATE, EmbeddingRequest
from xai.projection import METHODS, PARAMETERS, Projecting
from xai.ui import dataset_images, explaining, help_texts, own_shelf, result_data, state, widgets

LAYOUT_WORDS = {
    "aligned": "turned and scaled onto A's",
    "shared start": "started from A's, then turned onto it",
    "separate": "as it comes",
}
COUNTS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
FIRST_COUNT = 1_000
NO_IMAGES = (
    "No dataset on this machine has images of the size that network A takes: choose another network, or bring pictures "
    "in on the page Your own."
)
NETWORK_B_HELP = (
    "A second map of the same images: networks that take images of the same size. None shows A's map alone."
)
LAYER_HELP = (
    "What the map is of. What the classifier reads is the network's last word before classes; tick below for "
    "others."
)
MORE_HELP = "Reads the networks for their layers. A feature map counts as the mean over its cells."
METHOD_HELP = (
    "t-SNE and UMAP keep neighbours together, and distances between far groups mean little; PCA is a plain "
    "projection, whose axes are the directions of most spread."
)
DEGRADATION_HELP = (
    "The images are degraded at every severity and placed into the map of the clean ones; the slider goes "
    "through them."
)
NETWORKS = "embed_networks"
"""The networks that this page showed last."""
KEYS = (
    *("embed_images", "embed_split", "embed_count", "a", "b", "embed_layer_a", "embed_layer_b"),
    *("method", *(f"map_{name}" for name in PARAMETERS), "layout"),
    *("embed_degradation", "embed_scale", "embed_seed"),
)


def choose() -> EmbeddingRequest:
    """Draw the choices in the column on the left; raises `NothingYet`, with what to do, where there are none."""
    with st.sidebar:
        st.subheader("Networks")
        models = _networks()
        st.subheader("Images")
        name, split, limit = _images(models[0])
        models = tuple(each for each in models if _size(each) == dataset(name).image_size)
        layers = _layers(models)
        st.subheader("Map")
        projecting = _projecting()
        layout = _layout() if len(models) > 1 else "separate"
        st.subheader("Degradation")
        degrading = _degrading(dataset(name).image_size)
    return EmbeddingRequest(models, name, split, limit, layers, projecting, layout, **degrading)


def _networks() -> tuple[str, ...]:
    """Network A and, if wanted, B, of the same input size: by name, as their weights may not be needed."""
    known = explaining.cards()
    if not known:
        raise widgets.NothingYet(widgets.NO_NETWORK)
    first, second = _first_pair(tuple(known))
    # Other pages begin with other networks, and forget a choice that is what they begin with.
    for key, name in st.session_state.get(NETWORKS, {}).items():
        st.session_state[state.CHOICES].setdefault(key, [name])
    a = widgets.one_of("Network A", "a", list(known), first, help=help_texts.NETWORK_A)
    others = [name for name in known if name != a and known[name].input_size == known[a].input_size]
    usual = second if second in others else ""
    b = widgets.one_of(
        "Network B", "b", ["", *others], usual, lambda name: name or "none", help=NETWORK_B_HELP
    )
    st.session_state[NETWORKS] = {"a": a, "b": b}
    return tuple(name for name in (a, b) if name)


def _first_pair(names: tuple[str, ...]) -> tuple[str, str]:
    """Those whose maps come with the project, unless others were chosen on another page."""
    cards = explaining.cards()
    shipped = [name for name in names if cards[name].dataset == "cifar10-jpeg"]
    liked = [next((n for n in shipped if n.startswith(start)), "") for start in result_data.PREFERRED]
    pair = [name for name in liked if name][:2]
    return (pair[0], pair[1]) if len(pair) == 2 else explaining.first_choice(names)


def _size(name: str) -> int:
    return explaining.cards()[name].input_size


def _images(model: str) -> tuple[str, str, int | None]:
    """A set of images of the network's size, its split, and how many of them."""
    card = explaining.cards()[model]
    offered = [name for name in dataset_images.names().values() if _fits(name, card.input_size)]
    if not offered:
        raise widgets.NothingYet(NO_IMAGES)
    own = card.dataset if card.dataset in offered else offered[0]
    name = widgets.one_of(
        "Images of", "embed_images", offered, own, own_shelf.words(), help=help_texts.IMAGES_OF
    )
    splits = dataset(name).splits
    usual = "test" if "test" in splits else splits[0]
    split = widgets.one_of("Their split", "embed_split", splits, usual, help=help_texts.SPLIT_OF)
    return name, split, _count(name, _size_of(name, split))


def _size_of(name: str, split: str) -> float:
    """How many images a split has; infinite where that is not known, as they are not here."""
    try:
        return len(dataset_images.opened(name, split))
    except DatasetError:  # maps that come with the project need none
        return math.inf


def _count(name: str, size: float) -> int | None:
    """How many of `size` images, None for all."""
    offered = [str(count) for count in COUNTS if count < size]
    usual = str(FIRST_COUNT) if size > FIRST_COUNT and name != "cifar10-jpeg" else "all"
    kept = st.session_state[state.CHOICES].get("embed_count", [""])[0]
    if kept in {str(count) for count in COUNTS} - set(offered):  # of a larger split
        state.keep("embed_count", ["all"], [])
    count = widgets.one_of(
        "How many",
        "embed_count",
        ["all", *offered],
        usual,
        lambda one: "all" if one == "all" else f"{int(one):,}",
        help="Fewer are spread evenly over the classes. More take longer.",
    )
    return None if count == "all" else int(count)


def _fits(name: str, size: int) -> bool:
    try:
        return dataset(name).image_size == size
    except DatasetError:  # a folder that is no longer there
        return False


def _layers(models: tuple[str, ...]) -> tuple[str, ...]:
    """What features are taken from in each network."""
    places = [st.container() for _ in models]
    offered = widgets.switch("Offer other layers", "embed_more_layers", False, help=MORE_HELP)
    found = []
    for letter, name, place in zip("ab", models, places, strict=False):
        key = f"embed_layer_{letter}"
        # The network itself is read for its other layers only when somebody asks for them.
        more = offered or st.session_state[state.CHOICES].get(key, [PENULTIMATE]) != [PENULTIMATE]
        options = [PENULTIMATE, *(explaining.layers(explaining.model(name)) if more else ())]
        with place:
            label = f"Layer of {letter.upper()}"
            found.append(widgets.one_of(label, key, options, PENULTIMATE, _layer_words, help=LAYER_HELP))
    return tuple(found)


def _layer_words(name: str) -> str:
    return "what the classifier reads" if name == PENULTIMATE else name


def _projecting() -> Projecting:
    method = widgets.one_of(
        "Kind of map",
        "method",
        list(METHODS),
        "tsne",
        lambda name: METHODS[name].title,
        st.radio,
        horizontal=True,
        help=METHOD_HELP,
    )
    usual, values = Projecting(), {}
    if METHODS[method].parameters:
        with st.expander("Its numbers"):
            for name in METHODS[method].parameters:
                values[name] = _parameter(name, getattr(usual, name))
    return Projecting(method, **values)


def _parameter(name: str, usual: float) -> Any:
    entry = PARAMETERS[name]
    kind = int if entry.whole else float
    step = kind(1) if entry.whole else 0.05 if entry.high <= 1 else 1.0
    bounds = (kind(entry.low), kind(min(entry.high, 2**31 - 1)))
    return kind(
        widgets.number(entry.title, f"map_{name}", bounds, usual, step, st.number_input, help=entry.meaning)
    )


def _layout() -> str:
    help_words = (
        "Two maps can't be compared by eye as they come: either may be turned, mirrored or scaled. What differs after "
        "they are laid onto each other is measured below, in the features themselves."
    )
    return widgets.one_of(
        "Map of B", "layout", list(LAYOUTS), "aligned", LAYOUT_WORDS.__getitem__, help=help_words
    )


def _degrading(size: int) -> dict[str, Any]:
    """A degradation at all its levels: the slider above the plots goes through them."""
    scale = degradations.default_scale(size, size)
    wanted = widgets.one_of(
        "Scale of severity",
        "embed_scale",
        ["auto", *degradations.SCALES],
        "auto",
        lambda name: degradations.SCALES.get(name, f"fits the images ({degradations.SCALES[scale]})"),
        help=help_texts.SCALE,
    )
    scale = scale if wanted == "auto" else wanted
    names = ("none", *degradations.degradations_in(scale))
    titles = {name: degradations.DEGRADATIONS[name].title for name in names[1:]}
    name = widgets.one_of(
        "Degradation",
        "embed_degradation",
        names,
        "gaussian_noise",
        lambda one: titles.get(one, one),
        help=DEGRADATION_HELP,
    )
    if name == "none":
        return {}
    seed = 0
    if degradations.DEGRADATIONS[name].random:
        seed = int(
            widgets.number(
                "Seed of the degradation",
                "embed_seed",
                (0, 2**31 - 1),
                0,
                1,
                st.number_input,
                help=help_texts.DEGRADATION_SEED,
            )
        )
    return {"degradation": name, "severities": embedding.levels_of(name, scale), "scale": scale, "seed": seed}
