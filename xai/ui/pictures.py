"""Where the picture comes from: a drawn scene, a sample, an image of a dataset, or uploads, which stay for a while."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from data import cue10, images, resizing, samples
from data.datasets import DatasetError
from xai import settings
from xai.comparison import Picture, picture_from_dataset, picture_from_image
from xai.picture_sources import find_picture
from xai.ui import dataset_images, help_texts, limits, own_shelf, state, upload_room, widgets
from xai.ui.explaining import results

THUMBNAIL = 96
SOURCE_HELP = (
    "Drawn scenes have one object with its true mask. Uploads stay in memory, are yours alone, and leave with "
    "your visit."
)
SAMPLE_HELP = (
    "Photographs that come with the installed packages; networks trained on other classes can't name them."
)
DATASET_HELP = "Datasets on this machine, and what you brought in on the page Your own."
ID_HELP = "As it stands under pictures and in tables on other pages, which open images here."
SPLIT_HELP = (
    "test: shape and texture of one class; conflict: shape of one class, texture of another; "
    "shortcut: a corner tag whose colour betrays the class."
)
SOURCES = {
    "scene": "Drawn scene",
    "sample": "Sample photograph",
    "dataset": "Image of a dataset",
    "upload": "Upload",
}
UPLOADS, LEFT_OUT, VERDICTS = "kept_uploads", "left_out", "verdicts"


@dataclass(frozen=True)
class Upload:
    """An uploaded file as it came."""

    identity: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Verdict:
    """What the intake says of an upload: a safe name and a thumbnail `(h, w, 3)` uint8, or one sentence why not."""

    name: str
    thumbnail: np.ndarray | None
    problem: str


@dataclass(frozen=True)
class Offer:
    """Pictures to look at: `sources` for `open_picture`, `thumbnails` where there are several, and `problems`."""

    sources: tuple[str, ...]
    names: tuple[str, ...]
    thumbnails: tuple[np.ndarray, ...] = ()
    problems: tuple[str, ...] = ()


def choose() -> Offer:
    """Draw the widgets of the picture's source and say what it offers."""
    source = widgets.one_of(
        "Picture from", "source", list(SOURCES), "scene", SOURCES.__getitem__, st.radio, help=SOURCE_HELP
    )
    return {"scene": _scene, "sample": _sample, "dataset": _dataset, "upload": _uploads}[source]()


def open_picture(source: str) -> Picture:
    """The picture of one of an offer's sources; raises `ImageError` or `ManifestError`."""
    kind, _, identity = source.partition(":")
    if kind == "upload":
        return picture_from_image(_decoded(st.session_state[UPLOADS][identity]))
    if kind == "dataset":
        stem, split, image_id = identity.split("/", 2)
        name = dataset_images.names()[stem]
        row = dataset_images.rows(name, split)[image_id]
        return picture_from_dataset(dataset_images.opened(name, split), row)
    return results()(("picture", source), lambda: find_picture(source))


def _scene() -> Offer:
    split = widgets.one_of("Split", "split", list(cue10.SPLITS), "test", help=SPLIT_HELP)
    last = cue10.SPLITS[split] - 1
    index = int(
        widgets.number(
            "Scene",
            "scene",
            (0, last),
            3,
            1,
            st.number_input,
            help=f"Its number, 0 to {last:,}: each draws one scene.",
        )
    )
    st.button(
        "Random scene",
        on_click=_random_scene,
        args=(last,),
        icon=":material/casino:",
        help="A scene drawn by lot.",
    )
    return Offer((f"cue10:{split}/{index}",), (f"cue10 {split} {index}",))


def _random_scene(last: int) -> None:
    st.session_state["scene"] = secrets.randbelow(last + 1)


def _sample() -> Offer:
    found = samples.available_samples()
    if not found:
        return Offer(
            (), (), problems=("No sample is on this machine: scikit-image and scikit-learn bring them.",)
        )
    name = widgets.one_of(
        "Sample", "sample", list(found), next(iter(found)), lambda n: found[n].title, help=SAMPLE_HELP
    )
    st.caption(widgets.plain(found[name].caption))
    return Offer((f"sample:{name}",), (name,))


def _dataset() -> Offer:
    known = {
        stem: name for stem, name in dataset_images.names().items() if name != "cue10"
    }  # drawn one by one
    called = own_shelf.words()
    stem = widgets.one_of(
        "Dataset", "images", list(known), next(iter(known)), lambda s: called(known[s]), help=DATASET_HELP
    )
    splits = dataset_images.splits(known[stem])
    usual = "test" if "test" in splits else splits[0]
    split = widgets.one_of("Split of the dataset", "images_split", splits, usual, help=help_texts.SPLIT_OF)
    try:
        rows = dataset_images.rows(known[stem], split)
    except DatasetError as error:
        return Offer((), (), problems=(str(error),))
    image_id = _image_id(f"{stem}/{split}", tuple(rows))
    if image_id not in rows:
        words = f"{known[stem]} {split} has no image {image_id!r}; ids are such as {next(iter(rows))!r}."
        return Offer((), (), problems=(words,))
    return Offer((f"dataset:{stem}/{split}/{image_id}",), (image_id,))


def _image_id(part: str, ids: tuple[str, ...]) -> str:
    """The id of an image: typed, taken from a link, or drawn by lot."""

    def read(values: Sequence[str]) -> str | None:
        return values[0] if len(values) == 1 and values[0] in ids else None

    label, key = "Image id", f"image {part}"
    state.seed(key, lambda value: isinstance(value, str), lambda: state.recall("image", label, read, ids[0]))
    value = str(st.text_input(label, key=key, max_chars=state.MAX_LENGTH, help=ID_HELP)).strip()
    state.keep("image", [value], [ids[0]])
    st.button(
        "Random image",
        on_click=_random_image,
        args=(key, ids),
        icon=":material/casino:",
        help="An image drawn by lot.",
    )
    return value


def _random_image(key: str, ids: tuple[str, ...]) -> None:
    st.session_state[key] = secrets.choice(ids)


def _uploads() -> Offer:
    words = (
        f"PNG, JPEG, WebP, BMP, TIFF or GIF; up to {settings.SESSION_FILES.value()} files, each up to "
        f"{limits.file_megabytes()} MB and {settings.FILE_PIXELS.value()} megapixels."
    )
    # no list of endings: the intake looks at the content, and says in one sentence what is wrong with a file
    st.file_uploader(
        "Pictures",
        None,
        accept_multiple_files=True,
        key="uploader",
        help=words,
        on_change=_keep_uploads,
        max_upload_size=limits.file_megabytes(),
    )
    kept: dict[str, Upload] = st.session_state.get(UPLOADS, {})
    if kept and not st.session_state.get("uploader"):
        st.button(
            f"Forget the uploads ({len(kept)})",
            on_click=_forget_uploads,
            help="Takes them out of the memory of the server.",
        )
    verdicts = {identity: _verdict(upload) for identity, upload in kept.items()}
    good = {identity: verdict for identity, verdict in verdicts.items() if not verdict.problem}
    problems = [verdict.problem for verdict in verdicts.values() if verdict.problem]
    return Offer(
        tuple(f"upload:{identity}" for identity in good),
        tuple(verdict.name for verdict in good.values()),
        tuple(verdict.thumbnail for verdict in good.values() if verdict.thumbnail is not None),
        (*problems, *st.session_state.get(LEFT_OUT, ())),
    )


def _keep_uploads() -> None:
    """Keep the files beside the widget, which forgets them when another page is shown; as many as a batch may hold."""
    uploaded = st.session_state["uploader"]
    refused = {file.file_id: words for file in uploaded if (words := upload_room.refusal(file))}
    files, total = [file for file in uploaded if file.file_id not in refused], 0
    kept: dict[str, Upload] = {}
    for file in files[: settings.SESSION_FILES.value()]:
        total += file.size
        if total <= settings.SESSION_SIZE.bytes():
            kept[file.file_id] = Upload(file.file_id, file.name, file.getvalue())
            upload_room.keep(kept[file.file_id])
    left = len(files) - len(kept)
    allowed = f"{settings.SESSION_FILES.value()} files and {settings.SESSION_SIZE.value()} MiB"
    problems = [f"{left} of {len(files)} files were left out: a batch may hold {allowed}."] if left else []
    st.session_state[UPLOADS], st.session_state[LEFT_OUT] = kept, (*refused.values(), *problems)
    own_shelf.shelf().also("pictures", partial(_let_go, kept, upload_room.forgetting()))


def _let_go(kept: dict[str, Upload], forget_files: Callable[[], None]) -> None:
    """Drop what a session that is over has kept."""
    kept.clear()
    forget_files()


def _forget_uploads() -> None:
    st.session_state[UPLOADS], st.session_state[LEFT_OUT], st.session_state[VERDICTS] = {}, (), {}


def _decoded(upload: Upload) -> images.Image:
    return results()(
        ("upload", upload.identity),
        lambda: images.read_image(upload.content, upload.name, limits=limits.of_picture()),
    )


def _verdict(upload: Upload) -> Verdict:
    """Read an upload once in a session; its pixels may be forgotten afterwards and read again."""
    known = st.session_state.setdefault(VERDICTS, {})
    if upload.identity not in known:
        try:
            image = _decoded(upload)
            known[upload.identity] = Verdict(image.name, _thumbnail(image), "")
        except images.ImageError as error:
            known[upload.identity] = Verdict(images.display_name(upload.name), None, str(error))
    return known[upload.identity]


def _thumbnail(image: images.Image) -> np.ndarray:
    small = resizing.resize_pixels(image.pixels, THUMBNAIL, "pad")[0]
    return np.ascontiguousarray((small.numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0))
