"""A report of a comparison as a LaTeX document that pdflatex compiles beside its figures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xai.compare.sections import section
from xai.compare.story_parts import Chapter, Story
from xai.report_index import compilable, escaped, latex_figure, latex_table, preamble, upper_first


def document(story: Story) -> str:
    """The document: verdicts, sections, methods."""
    lines = [
        preamble(story.title),
        *_verdicts(story),
        *(line for chapter in story.chapters for line in _chapter(chapter)),
        *_methods(story.methods),
        r"\end{document}",
    ]
    return compilable("\n".join(lines) + "\n")


def _verdicts(story: Story) -> Iterator[str]:
    yield r"\section{What is known}"
    for heading, chapters in story.groups.items():
        items = [f"{chapter.section.title}: {chapter.found.verdict}" for chapter in chapters]
        yield from _listed(heading, items)
    items = [f"{section(name).title}: {why}" for name, why in story.unanswered.items()]
    yield from _listed("What could not be asked", items)


def _listed(heading: str, items: Sequence[str]) -> Iterator[str]:
    """A list of sentences under a heading, nothing where there are none."""
    if items:
        yield rf"\subsection*{{{escaped(heading)}}}\begin{{itemize}}"
        yield from (rf"\item {{}}{escaped(item)}" for item in items)
        yield r"\end{itemize}"


def _chapter(chapter: Chapter) -> Iterator[str]:
    found = chapter.found
    yield rf"\section{{{escaped(chapter.section.title)}}}"
    yield rf"\emph{{{escaped(chapter.section.question)}}}"
    yield ""
    yield rf"\textbf{{{escaped(found.verdict)}}}"
    yield from _listed("Evidence", found.sentences)
    yield from _listed("Without a number", found.undefined)
    for figure in chapter.figures:
        caption = f"{chapter.section.title}: {upper_first(figure.title)}."
        yield latex_figure(figure.stem, figure.width, caption)
    for table in chapter.tables:
        yield latex_table(table)
    yield r"\clearpage"


def _methods(paragraphs: Mapping[str, str]) -> Iterator[str]:
    yield r"\section{Methods}"
    for heading, words in paragraphs.items():
        yield rf"\paragraph{{{escaped(heading)}}} {escaped(words)}"
