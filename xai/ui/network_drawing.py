"""A drawing of a network on which a layer is picked, as one element.

Each layer is a block, as high as the logarithm of its grid and as wide as that of its channels, in the order in which
they run and grouped by stage. The blocks are buttons of one toolbar: Tab leads to it, the arrow keys through it,
Enter picks. Everything is written as text, never as HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import streamlit as st


class Layer(Protocol):
    """What is drawn of a layer, as `xai.feature_layers.LayerInfo` has it; `note` says why it can't be picked."""

    @property
    def name(self) -> str:
        """Dotted name."""

    @property
    def kind(self) -> str:
        """Class of the module."""

    @property
    def channels(self) -> int:
        """Channels."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def calls(self) -> int:
        """Times that it runs for an image."""

    @property
    def note(self) -> str:
        """Empty, or why it can't be shown."""


MOST_AT_ONCE = 40
"""Networks of more layers are drawn by blocks, the parts of a stage on a click."""
BLOCK_PARTS = 2
"""Dotted parts of the names that are always drawn: `layer1` and `layer1.0`."""

CSS = """
.net {display: flex; flex-wrap: wrap; gap: 0.5rem; max-height: 27rem; overflow: auto; padding: 2px;
    font-family: var(--st-font); color: var(--st-text-color)}
.stage {border: 1px solid var(--st-border-color, #8886); border-radius: 0.4rem; padding: 0.25rem 0.3rem}
.stage header {display: flex; gap: 0.5rem; align-items: baseline; min-height: 1.2rem; font-size: 0.75rem;
    font-weight: 600}
.layers {display: flex; flex-wrap: wrap; row-gap: 0.3rem}
button {font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer}
.layer {width: 76px; padding: 0.15rem 1px; border-radius: 0.3rem; border: 2px solid transparent; font-size: 0.68rem;
    line-height: 1.25; text-align: center; box-sizing: border-box; overflow-wrap: anywhere; display: flex;
    flex-direction: column; justify-content: flex-start}
.layer span, .layer b {display: block}
.layer .shape {position: relative; display: flex; align-items: center; justify-content: center;
    height: var(--tallest); margin: 0 -4px 0.15rem}
.layer .shape::before {content: ""; position: absolute; left: 0; right: 0; top: 50%; height: 1px;
    background: var(--st-text-color); opacity: 0.4}
.layer i {position: relative; display: block; box-sizing: border-box; border: 1px solid var(--st-text-color);
    border-radius: 2px; background: color-mix(in srgb, var(--st-primary-color) 30%, var(--st-background-color))}
.layer:hover {background: color-mix(in srgb, var(--st-primary-color) 12%, transparent)}
.layer:focus-visible, .more:focus-visible {outline: 2px solid var(--st-primary-color); outline-offset: -1px}
.layer[aria-pressed="true"] {border-color: var(--st-primary-color)}
.layer[aria-pressed="true"] i {background: var(--st-primary-color)}
.layer[aria-pressed="true"] b::before {content: "✓ "}
.layer[aria-disabled="true"] {cursor: not-allowed; opacity: 0.45}
.layer[aria-disabled="true"]:hover {background: none}
.layer[aria-disabled="true"] i {background: var(--st-background-color); border-style: dashed}
.more {font-size: 0.72rem; font-weight: 400; text-decoration: underline; border-radius: 0.2rem}
.kind {opacity: 0.8}
p {margin: 0.3rem 0 0; font-family: var(--st-font); font-size: 0.75rem; color: var(--st-text-color); opacity: 0.8}
"""
JS = """
export default function ({ parentElement, data, setTriggerValue }) {
  const net = parentElement.querySelector(".net")
  net.opened = net.opened || new Set()
  net.setAttribute("aria-label", data.label)
  net.style.setProperty("--tallest", data.tallest + "px")
  parentElement.querySelector("p").textContent = data.legend

  const add = (parent, tag, name, words) => {
    const made = document.createElement(tag)
    if (name) made.className = name
    // A line may break behind a dot and between words written together.
    const parts = (words || "").split(/(?<=\\.)|(?<=[a-z])(?=[A-Z])/)
    parts.forEach((part, place) => made.append(...(place ? [document.createElement("wbr"), part] : [part])))
    parent.append(made)
    return made
  }
  const button = (parent, name, key) => {
    const made = add(parent, "button", name)
    made.type = "button"
    made.dataset.key = key
    made.tabIndex = -1
    return made
  }
  const block = (parent, layer) => {
    const made = button(parent, "layer", "layer " + layer.name)
    made.title = layer.title
    made.setAttribute("aria-label", layer.title)
    made.setAttribute("aria-pressed", String(layer.name === data.chosen))
    const shape = add(add(made, "span", "shape"), "i", "").style
    shape.width = layer.width + "px"
    shape.height = layer.height + "px"
    add(made, "b", "", layer.short)
    add(made, "span", "kind", layer.kind)
    add(made, "span", "", layer.size)
    if (layer.disabled) made.setAttribute("aria-disabled", "true")
    else made.onclick = () => setTriggerValue("pick", layer.name)
  }
  const stage = (group) => {
    const made = document.createElement("div")
    made.className = "stage"
    made.setAttribute("role", "group")
    made.setAttribute("aria-label", group.name || "layers outside of stages")
    const head = add(made, "header", "")
    add(head, "span", "", group.name)
    const open = net.opened.has(group.key)
    if (group.hidden) {
      const more = button(head, "more", "more " + group.key)
      more.textContent = open ? "blocks only" : `+ ${group.hidden} inside`
      more.setAttribute("aria-label", `${group.name}: the ${group.hidden} layers inside its blocks`)
      more.setAttribute("aria-expanded", String(open))
      more.onclick = () => {
        net.opened.delete(group.key) || net.opened.add(group.key)
        draw()
      }
    }
    const row = add(made, "div", "layers")
    group.layers.filter((layer) => open || !layer.inside).forEach((layer) => block(row, layer))
    return made
  }
  const buttons = () => [...net.querySelectorAll("button")]
  const reach = (target) => {  // Tab comes to one button, the arrow keys go on from there
    buttons().forEach((each) => { each.tabIndex = each === target ? 0 : -1 })
    net.last = target.dataset.key
  }
  const draw = () => {
    const focused = net.getRootNode().activeElement
    const kept = net.contains(focused) ? focused.dataset.key : ""
    const top = net.scrollTop
    net.replaceChildren(...data.groups.map(stage))
    net.scrollTop = top
    const all = buttons()
    const find = (key) => all.find((each) => each.dataset.key === key)
    const chosen = net.shown === data.chosen ? "" : "layer " + data.chosen
    const target = find(kept) || find(chosen) || find(net.last) || all[0]
    if (target) reach(target)
    if (kept && target) target.focus({ preventScroll: true })
    if (net.shown !== data.chosen && target) {
      const box = target.getBoundingClientRect(), frame = net.getBoundingClientRect()
      if (box.top < frame.top || box.bottom > frame.bottom) net.scrollTop += box.top - frame.top - 40
    }
    net.shown = data.chosen
  }
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }
  net.onkeydown = (event) => {
    const all = buttons()
    const place = all.indexOf(event.target)
    const to = { Home: 0, End: all.length - 1 }[event.key] ?? place + steps[event.key]
    if (place < 0 || Number.isNaN(to) || event.ctrlKey || event.altKey || event.metaKey) return
    event.preventDefault()
    const target = all[Math.max(0, Math.min(all.length - 1, to))]
    reach(target)
    target.focus()
  }
  net.onclick = (event) => {
    const near = event.target.closest("button")
    if (near && net.contains(near)) reach(near)
  }
  draw()
}
"""
_component = st.components.v2.component(
    "network_drawing", html='<div class="net" role="toolbar"></div><p></p>', css=CSS, js=JS
)

LEGEND = "Height: the grid, width: the channels, both as logarithms. Arrow keys move, Enter picks."


def pick_layer(layers: Sequence[Layer], chosen: str | None, key: str, label: str) -> str | None:
    """Draw the network and return the name of the layer that was just picked, if one was.

    `layers` come in the order in which they run, `chosen` is shown as pressed; the one just picked takes its place
    in the drawing at once. `label` says to those who can't see it what is drawn. Layers with a `note` can't be
    picked and say why. Of networks of more than `MOST_AT_ONCE` layers only blocks are drawn (and the chosen layer),
    until a stage is opened with its button.
    """
    before: Any = st.session_state.get(key)
    picked = (before.get("pick") if before else None) or chosen
    drawn = groups(layers, picked)
    tallest = max((cell["height"] for group in drawn for cell in group["layers"]), default=0)
    data = {"groups": drawn, "tallest": tallest, "chosen": picked, "label": label, "legend": LEGEND}
    found: str | None = _component(key=key, data=data, on_pick_change=lambda: None).get("pick")
    return found if found in {layer.name for layer in layers if not layer.note} else None


def groups(layers: Sequence[Layer], chosen: str | None = None) -> list[dict[str, Any]]:
    """The stages of the drawing in the order in which they begin, each with its layers as they are drawn.

    A stage is the first dotted part of names that several layers share; what lies between stages is a group without
    a name. `inside` marks layers that are drawn only when their stage is opened, `hidden` counts them.
    """
    stages = {layer.name.split(".")[0] for layer in layers if "." in layer.name}
    found: dict[str, dict[str, Any]] = {}
    between = ""
    for layer in layers:
        stage = layer.name.split(".")[0]
        name = stage if stage in stages else ""
        between = "" if name else between or f" {layer.name}"
        group = found.setdefault(name or between, {"key": name or between, "name": name, "layers": []})
        inside = len(layers) > MOST_AT_ONCE and layer.name.count(".") >= BLOCK_PARTS and layer.name != chosen
        group["layers"].append(_cell(layer, name, inside=inside))
    for group in found.values():
        group["hidden"] = sum(cell["inside"] for cell in group["layers"])
    return list(found.values())


def _cell(layer: Layer, stage: str, *, inside: bool) -> dict[str, Any]:
    """One layer as it is drawn."""
    size = "" if layer.note else f"{layer.grid[0]}×{layer.grid[1]}×{layer.channels}"
    return {
        "name": layer.name,
        "short": layer.name.removeprefix(f"{stage}.") if stage else layer.name,
        "kind": layer.kind,
        "size": size,
        "title": _title(layer, size),
        "width": round(6 + 4.5 * math.log2(layer.channels + 1)),
        "height": round(5 + 7 * math.log2(max(layer.grid) + 1)),
        "disabled": bool(layer.note),
        "inside": inside,
    }


def _title(layer: Layer, size: str) -> str:
    """Name, kind and size in words, and what else has to be known."""
    words = [layer.name, layer.kind, size, f"can't be shown: {layer.note}" if layer.note else ""]
    words += [f"runs {layer.calls} times"] if layer.calls > 1 else []
    return ", ".join(word for word in words if word)
