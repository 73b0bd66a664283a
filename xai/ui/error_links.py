"""From an image on the Errors page to the Explain page: the same networks, condition and random draws."""

from __future__ import annotations

from xai.evaluation_grid import CLEAN
from xai.ui import links
from xai.ui.error_data import Chosen
from xai.ui.links import Choices


def explain(chosen: Chosen, image_id: str) -> Choices:
    """The choices of the Explain page that show one image of the board."""
    setting = chosen.board.setting
    return {
        **links.picture(setting.dataset, setting.split, image_id),
        "a": [chosen.a],
        "b": [chosen.b],
        **_degradation(chosen),
    }


def _degradation(chosen: Chosen) -> Choices:
    condition = chosen.condition
    if condition.degradation == CLEAN:
        return {"degradation": ["none"]}
    seed = chosen.board.cell(chosen.a, condition).seed
    return {
        "degradation": [condition.degradation],
        "scale": [condition.scale],
        "severity": [f"{condition.severity:g}"],
        "seed": [str(seed)],
    }
