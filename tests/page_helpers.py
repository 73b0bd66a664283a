"""What the tests of pages share: a visitor who opens one, and what it says."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[1]


PAGES = {
    "explain": "Explain a decision",
    "features": "Feature maps",
    "channel": "One channel",
    "robustness": "Robustness",
    "embeddings": "Embeddings",
    "compare": "Compare",
    "errors": "Errors",
    "models": "Networks",
    "own": "Your own",
    "train": "Train",
    "about": "About",
}
"""Titles by the names of the pages."""


def visit(page: str, /, **link: str) -> AppTest:
    """The page `xai/ui/pages/PAGE.py` as a visitor meets it who comes with a link."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in link.items():
        app.query_params[key] = value
    return app.switch_page(f"xai/ui/pages/{page}.py").run()


def healthy(app: AppTest) -> bool:
    """No exception and no sentence of failure."""
    return not app.exception and not app.error


def words(app: AppTest) -> str:
    """All that the page says, without Markdown's escapes."""
    parts = (*app.markdown, *app.caption, *app.info, *app.subheader, *app.warning, *app.error)
    return " ".join(str(element.value) for element in parts).replace("\\", "")


def pictures(app: AppTest) -> list[str]:
    """What the figures say to those who can't see them."""
    return [image.proto.imgs[0].alt for image in app.image]
