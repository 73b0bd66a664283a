"""What controls are for that stand on several pages, in the same words on each, and what kinds of file hold."""

from __future__ import annotations

NETWORK_A = "The network that is looked at first. Network B stands beside it."
NETWORK_B = (
    "The network that is compared with A: the same picture, degradation and class. None shows A alone."
)
IMAGES_OF = "The set of images that the networks are shown. Only sets with images of their size are offered."
SPLIT_OF = (
    "Networks learned from train and were chosen on validation; test is what they have never seen. On drawn "
    "scenes conflict has the shape of one class and the texture of another, shortcut a corner tag that betrays the "
    "class."
)
DEGRADATION = (
    "How the picture is made worse: noise, blur, compression, weather and others. None leaves it clean."
)
SCALE = (
    "What severity 1, 2, 3 … mean: the constants of a published benchmark or paper. The one that fits has "
    "strengths made for images of this size."
)
DEGRADATION_SEED = "The same seed draws the same noise again. Degradations without chance ignore it."
LAYER = "The layer whose answers are shown, with its grid (rows × columns) and how many channels it has."
STEPS = "How often the picture is improved. More steps give a clearer picture and take longer in proportion."

FILES = {
    "pdf": "The figure with lines and text that stay sharp at any size, for a paper.",
    "svg": "The figure as a drawing that can be edited; text stays text.",
    "png": "The figure as pixels, for slides and web pages.",
    "npz": "The raw numbers behind the picture as NumPy arrays: signed, not scaled, on the layer's own grid.",
    "csv": "The numbers as a table, for a spreadsheet or pandas.",
    "tex": "The numbers as a LaTeX table, for a paper.",
    "parquet": "The numbers as a Parquet table, for pandas or Arrow: types are kept.",
    "json": "What was shown and how it was made, with hashes: `python -m xai reproduce` makes it again from this file.",
    "zip": "All files in one archive.",
}
"""What a file is for, by the ending of its name."""


def of_file(name: str) -> str:
    """What the file of that name is for; raises `KeyError` for an ending that nobody has described."""
    return FILES[name.rpartition(".")[2]]
