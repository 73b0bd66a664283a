"""A page of image cards as one element: pictures from one sheet, words, and a link that opens the image.

A plain click opens the link within the visit, as one step of the browser's history; with Ctrl or in a new tab it does
what links do. Everything is written as text, never as HTML.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import streamlit as st


@dataclass(frozen=True)
class Line:
    """One line of words under a picture, marked as right (`good`), wrong (`bad`) or neither (empty)."""

    words: str
    mark: str = ""


@dataclass(frozen=True)
class Card:
    """One image: its id, its class, what was said of it, and the address that opens it."""

    image: str
    title: str
    lines: tuple[Line, ...]
    link: str


CSS = """
ul {list-style: none; margin: 0; padding: 0; display: grid; gap: 0.5rem;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--card)), 1fr))}
a {display: block; height: 100%; box-sizing: border-box; padding: 0.4rem; border-radius: 0.4rem;
   color: var(--st-text-color); text-decoration: none; font-family: var(--st-font); font-size: 0.75rem;
   line-height: 1.3; border: 1px solid var(--st-border-color, #8886)}
a:hover, a:focus-visible {border-color: var(--st-primary-color); outline: 2px solid var(--st-primary-color)}
.pictures {display: flex; flex-wrap: wrap; gap: 4px; margin-bottom: 0.25rem}
.pictures span {display: block; flex: none; background-repeat: no-repeat}
.id {opacity: 0.75; overflow-wrap: anywhere}
b, .line {display: block; overflow-wrap: anywhere}
.good::before {content: "✓ "; color: #1b8a3a; font-weight: bold}
.bad::before {content: "✗ "; color: #d4411e; font-weight: bold}
"""
JS = """
export default function ({ parentElement, data }) {
  const list = parentElement.querySelector("ul")
  const side = data.side
  // One short address: a browser reads that of a picture anew for each card, and the picture itself is long.
  const bytes = Uint8Array.from(atob(data.sheet), (letter) => letter.charCodeAt(0))
  const sheet = URL.createObjectURL(new Blob([bytes], { type: "image/png" }))
  list.style.setProperty("--card", data.width + "px")
  list.setAttribute("aria-label", data.label)
  const add = (parent, tag, name, words) => {
    const made = document.createElement(tag)
    if (name) made.className = name
    if (words !== undefined) made.textContent = words
    parent.append(made)
    return made
  }
  const picture = (parent, column, row) => {
    const style = add(parent, "span", "").style
    style.width = style.height = side + "px"
    style.backgroundImage = `url(${sheet})`
    style.backgroundSize = `${side * data.cards.length}px ${side * data.rows}px`
    style.backgroundPosition = `${-side * column}px ${-side * row}px`
    if (data.hard) style.imageRendering = "pixelated"
  }
  const items = data.cards.map((card, column) => {
    const item = document.createElement("li")
    const link = add(item, "a", "")
    link.href = card.link
    link.title = data.hint
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
      event.preventDefault()
      // Streamlit then asks for the page of the new address, as it does when somebody goes back in the history.
      history.pushState({}, "", link.href)
      window.dispatchEvent(new PopStateEvent("popstate"))
    }
    if (data.rows) {
      const pictures = add(link, "div", "pictures")
      pictures.setAttribute("aria-hidden", "true")
      for (let row = 0; row < data.rows; row++) picture(pictures, column, row)
    }
    add(link, "b", "", card.title)
    for (const line of card.lines) add(link, "span", "line " + line.mark, line.words)
    if (card.title !== card.image) add(link, "span", "id", card.image)
    return item
  })
  list.replaceChildren(...items)
  if (list.sheet) URL.revokeObjectURL(list.sheet)
  list.sheet = sheet
}
"""
_component = st.components.v2.component("image_cards", html="<ul></ul>", css=CSS, js=JS)


@dataclass(frozen=True)
class Sheet:
    """The pictures of all cards: a PNG of `rows` lines with one picture of `pixels` a side for each card.

    `hard` ones keep their pixels' edges at any size; others do where their pixels can all be of one size.
    """

    png: bytes
    rows: int
    pixels: int
    hard: bool = False


WIDTH = 150
"""Least width of a card in pixels."""
GAP, FRAME = 4, 16
"""Pixels between the pictures of a card, and all that stands beside them: padding and border of both sides."""


def draw(
    cards: Sequence[Card], sheet: Sheet | None, key: str, label: str, hint: str = "Open in Explain"
) -> None:
    """Draw the cards."""
    rows = sheet.rows if sheet else 0
    side = 64 if rows > 1 else 128
    data = {
        "cards": [asdict(card) for card in cards],
        "sheet": base64.b64encode(sheet.png).decode() if sheet else "",
        "rows": rows,
        "side": side,
        "hard": sheet is not None and (sheet.hard or side % sheet.pixels == 0),
        "width": max(WIDTH, rows * (side + GAP) - GAP + FRAME),
        "label": label,
        "hint": hint,
    }
    _component(key=key, data=data)
