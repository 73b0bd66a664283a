"""The reference of the programming interface: one HTML page per module, from signatures and docstrings, by pdoc.

pdoc imports what it describes, so the pages show each name as it is in a running program. It is a requirement of
development, not of the app.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.datasets import Progress
from models.files import write_text

if TYPE_CHECKING:
    from pdoc.doc import Class, Module

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("xai", "models", "data")
LONGEST_VALUE = 100
"""Characters of a constant's value that a page shows: a table of a thousand numbers is no reading."""


class DocumentationError(ValueError):
    """The reference can't be written; the message is one sentence."""


def modules() -> list[str]:
    """Dotted names of all modules, sorted; pages of the app are scripts, and `__main__` is none to import."""
    return sorted(_module_names())


def _module_names() -> Iterator[str]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:3] != ("xai", "ui", "pages") and parts[-1] != "__main__":
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def write(folder: Path, names: Sequence[str] = (), progress: Progress | None = None) -> list[Path]:
    """Write pages of modules (none given: of all), an index and its search; returns the index and the pages.

    Raises `DocumentationError` where pdoc is not installed or a module can't be imported.
    """
    if importlib.util.find_spec("pdoc") is None:
        raise DocumentationError(
            "the reference is written by pdoc, which is not installed here: run pip install 'pdoc>=16.0'."
        )
    from pdoc import render

    render.configure(docformat="markdown", show_source=False, footer_text="XAI workbench")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # annotations that only a type checker resolves stay text
        known = {name: read(name) for name in names or modules()}
        for module in known.values():
            _leave_out_long_values(module)
        pages = {"index.html": render.html_index(known), "search.js": render.search_index(known)}
        for done, (name, module) in enumerate(known.items(), start=1):
            pages[f"{name.replace('.', '/')}.html"] = render.html_module(module, known)
            if progress is not None:
                progress(done, len(known), "pages")
    return [_put(folder / name, text) for name, text in pages.items()]


def read(name: str) -> Module:
    """A module as pdoc knows it, with all its public names; raises `DocumentationError` where it can't be imported."""
    from pdoc.doc import Module

    try:
        module = Module.from_name(name)
    except RuntimeError as error:
        raise DocumentationError(
            f"the module {name} can't be imported: {error.__cause__ or error}."
        ) from error
    _see_own_names(module)
    return module


def _see_own_names(module: Module) -> None:
    """Let pdoc, which takes `__all__` for the whole of a module, see what the module defines as well.

    Here `__all__` says what a module passes on from others.
    """
    listed = getattr(module.obj, "__all__", None)
    if listed is None:
        return
    held = vars(module.obj).items()
    own = [name for name, value in held if getattr(value, "__module__", "") == module.modulename]
    shown = [*listed, *(name for name in own if not name.startswith("_") and name not in listed)]
    try:
        vars(module.obj)["__all__"] = shown
        len(module.members)  # works them out, once for all
    finally:
        vars(module.obj)["__all__"] = listed


def _leave_out_long_values(holder: Module | Class) -> None:
    """Values that are long, or name a place on this machine, say nothing to a reader elsewhere."""
    from pdoc.doc import Class, Variable, empty

    for member in holder.own_members:
        if isinstance(member, Class):
            _leave_out_long_values(member)
        elif isinstance(member, Variable) and not _worth_showing(member.default_value_str):
            vars(member).pop("default_value_str", None)
            member.default_value = empty


def _worth_showing(value: str) -> bool:
    return len(value) <= LONGEST_VALUE and str(ROOT) not in value and str(Path.home()) not in value


def _put(path: Path, text: str) -> Path:
    write_text(path, text.replace(f"{ROOT}/", ""))
    return path
