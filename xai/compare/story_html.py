"""A report of a comparison as one page for reading: what differs first, then every question with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape

from xai.compare.sections import section
from xai.compare.story_parts import Chapter, Shown, Story
from xai.report_index import STYLE, html_table, links, upper_first

_MORE = """
.verdict {border-left: 4px solid var(--line); padding: .2rem 0 .2rem 1rem; font-weight: 600}
.skip {position: absolute; left: -999rem} .skip:focus {position: static}
figure {margin: 1.5rem 0} figcaption {font-size: 13px} li {margin: .3rem 0} p, li {max-width: 52rem}
h3 {margin-top: 2rem} a:focus-visible {outline: 2px solid}
"""


def page(story: Story) -> str:
    """The page, which needs nothing but the files beside it; every word that may be anybody's is escaped."""
    title = escape(story.title)
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>',
        f"<style>{STYLE}{_MORE}</style></head><body>",
        f'<a class="skip" href="#report">To the report</a><header><h1>{title}</h1></header>',
        *_contents(story),
        '<main id="report">',
        *_verdicts(story),
        *(line for chapter in story.chapters for line in _chapter(chapter, story.paper)),
        *_methods(story.methods),
        *_files(story),
        "</main></body></html>",
    ]
    return "\n".join(lines) + "\n"


def _contents(story: Story) -> Iterator[str]:
    places = [(chapter.section.name, chapter.section.title) for chapter in story.chapters]
    places = [("verdicts", "What is known"), *places, ("methods", "Methods"), ("files", "Files")]
    listed = "".join(f'<li><a href="#{escape(name)}">{escape(title)}</a></li>' for name, title in places)
    yield f'<nav aria-label="Contents"><ul>{listed}</ul></nav>'


def _verdicts(story: Story) -> Iterator[str]:
    """The verdicts, by whether the networks differ, and the questions without an answer."""
    yield f'<section aria-labelledby="verdicts"><h2 id="verdicts">What is known</h2><p>{escape(_what(story))}</p>'
    for heading, chapters in story.groups.items():
        if chapters:
            yield f"<h3>{escape(heading)}</h3>{_listed([_pointer(chapter) for chapter in chapters])}"
    if unanswered := story.unanswered:
        yield "<h3>What could not be asked</h3>"
        yield _listed([f"{escape(section(name).title)}: {escape(why)}" for name, why in unanswered.items()])
    yield "</section>"


def _what(story: Story) -> str:
    facts = story.compared.facts
    names = "; ".join(
        f"{letter} is {network.name}" for letter, network in zip("AB", facts.networks, strict=True)
    )
    conditions = f"{len(facts.conditions):,} conditions" if len(facts.conditions) > 1 else "clean only"
    return f"{names}. {facts.images:,} images, {conditions}."


def _pointer(chapter: Chapter) -> str:
    name, title = escape(chapter.section.name), escape(chapter.section.title)
    return f'<a href="#{name}">{title}</a>: {escape(chapter.found.verdict)}'


def _listed(items: Sequence[str]) -> str:
    """A list of items that are HTML."""
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _chapter(chapter: Chapter, paper: bool) -> Iterator[str]:
    name, found = escape(chapter.section.name), chapter.found
    yield f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(chapter.section.title)}</h2>'
    yield f"<p>{escape(chapter.section.question)}</p>"
    yield f'<p class="verdict">{escape(found.verdict)}</p>'
    if found.sentences:
        yield _listed([escape(sentence) for sentence in found.sentences])
    for figure in chapter.figures:
        yield from _figure(chapter, figure)
    for table in chapter.tables:
        yield from html_table(replace(table, caption=chapter.section.title), ("csv", "tex") if paper else ())
    if found.undefined:
        yield f"<h3>Without a number</h3>{_listed([escape(sentence) for sentence in found.undefined])}"
    yield "</section>"


def _figure(chapter: Chapter, figure: Shown) -> Iterator[str]:
    title = escape(upper_first(figure.title))
    words = escape(f"Figure: {upper_first(figure.title)}. {chapter.found.verdict}")
    source, width = escape(f"{figure.stem}.{figure.best}"), f"{96 * figure.width:.0f}"
    yield f"<figure><img src='{source}' alt='{words}' loading='lazy' width='{width}'>"
    yield f"<figcaption>{title} ({links(figure.stem, figure.endings)})</figcaption></figure>"


def _methods(paragraphs: Mapping[str, str]) -> Iterator[str]:
    yield '<section aria-labelledby="methods"><h2 id="methods">Methods</h2>'
    for heading, words in paragraphs.items():
        yield f"<p><strong>{escape(heading)}.</strong> {escape(words)}</p>"
    yield "</section>"


def _files(story: Story) -> Iterator[str]:
    more = [("report.tex", "the same as LaTeX")] if story.paper else []
    listed = [
        *more,
        ("methods.txt", "the methods as text"),
        ("numbers.json", "every number that is quoted"),
        ("manifest.json", "what this rests on; python -m xai reproduce makes it again"),
    ]
    items = [f"<a href='{name}'>{name}</a>: {escape(words)}" for name, words in listed]
    yield f'<section aria-labelledby="files"><h2 id="files">Files</h2>{_listed(items)}</section>'
