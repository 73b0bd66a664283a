"""The About page: what the app is, how to read it, what is kept of uploads, and how to cite it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import streamlit as st

from xai.ui import widgets

ROOT = Path(__file__).parents[2]
PAGES = {
    "explain": "what a network looks at in a picture, clean and degraded, beside another network",
    "features": "every channel of a layer for a picture, and how much a degradation changes it",
    "channel": "what one channel looks for: a picture made for it, and the images that excite it most",
    "embeddings": "all images of a dataset as points: those together that a network finds alike",
    "compare": "how two networks decide, sorted into what differs, what does not, and what can't be said",
    "robustness": "how accuracy falls as images get worse, and which differences are real",
    "errors": "which classes and images go wrong, and what a degradation changes",
    "models": "all networks with cards, curves and intervals, and what papers claim of such networks",
    "own": "bring your own weights and pictures, checked before anything is believed",
    "train": "a small training or fine-tuning, with progress and cancel",
}
READING = """
**Reading a heatmap.** A map shows where evidence for *one class* was found at *one layer*, in the units of its
method; it does not show what the network "sees". Maps of one network, clean and degraded, share one scale. Maps of
two networks are divided by their largest clean value before they are subtracted.

**When not to trust Grad-CAM.** Its weights average the gradient over the map. At the last stage before average
pooling and one linear layer (ResNet) that is exact; at earlier layers, and before fully connected layers (AlexNet),
it is not. The page says how far Grad-CAM and HiResCAM agree, and warns when they don't.

**Severity.** Degradations follow CIFAR-10-C for small inputs and ImageNet-C for large ones, or the grid of a paper on
low-quality pictures; the constants in force stand above the figure. Frost and spatter are not implemented.

**Pictures for Explain and Features** are kept in this server's memory: the files with your session, and what is
decoded and computed from them in a store of bounded size, which all visitors share and whose entries are reached only
by a hash of the picture or the random name of the upload. The app never writes them to disk (while a file above 1 MB
arrives, the web server may hold it in a temporary file that nobody else can name). A link to a page carries the
choices, never an upload.

**Weights and ZIPs on Your own** lie on this server's disk while you are here, where only your pages offer them; they
are removed when you forget them, and a few minutes after you leave. What you *keep* is another matter: a network that
you keep, and the answers of a sweep, stay on the server. Every visitor sees such a network; answers to your pictures
are listed for those alone who have uploaded the same pictures.

**The manual** is the file `README.md` beside `app.py`, with a tour in pictures, and the folder `docs`: every page,
command, method and setting. The question mark beside a control says what it is for.
"""
SHIPPED = (
    "With the program come small networks trained for it, their answers and measurements, and drawn scenes (cue10), "
    "which its own code draws. No photographs come with it: samples are those of the installed packages, CIFAR images "
    "have to be brought or downloaded, and ImageNet weights are downloaded from torchvision on request; these, and the "
    "installed packages, have licences of their own."
)
NO_LICENCE = (
    "The project states no licence of its own so far: using it is what it is for, but ask the maintainers before you "
    "pass on copies or changed versions."
)


def version() -> str:
    """The version that `pyproject.toml` states; empty where that file does not come along."""
    path = ROOT / "pyproject.toml"
    if not path.is_file():
        return ""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])


def licence() -> str:
    """The first line of the project's licence, or that it states none."""
    found = next((path for name in ("LICENSE", "LICENCE") for path in sorted(ROOT.glob(f"{name}*"))), None)
    if found is None:
        return NO_LICENCE
    first = next(line.strip() for line in found.read_text(encoding="utf-8").splitlines() if line.strip())
    return f"Licence of the project: {first} (the file {found.name})."


def draw() -> None:
    """Draw the page."""
    st.markdown(
        f"**XAI workbench {version()}** shows how convolutional networks (AlexNet, ResNet and others) decide, "
        f"and how that changes when the network or the quality of the picture changes.\n{READING}"
    )
    st.subheader("Where to find what")
    for name, words in PAGES.items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(f"xai/ui/pages/{name}.py", width=150)
            st.markdown(f"{words}.", width="stretch")
    st.subheader("Licence")
    st.markdown(widgets.plain(f"{licence()} {SHIPPED}"))
    _cite()


def _cite() -> None:
    st.subheader("How to cite")
    st.markdown(
        "Cite the program as below, and the paper of each method that your figures show: `docs/citing.md` lists them. "
        "The manifest beside each figure names weights, picture, settings and versions."
    )
    path = ROOT / "CITATION.cff"
    if path.is_file():
        st.code(path.read_text(encoding="utf-8"), language="yaml", wrap_lines=True)
    else:
        st.caption("CITATION.cff, which says how, does not come with this installation.")
