// Two linked scatter plots of the same images, drawn by plotly: hover, lasso, classes on and off, severity.
// Everything is written as text, never as HTML.

const EMPTY = []

function numbers(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
  return new Kind(bytes.buffer)
}

function element(tag, name, words) {
  const made = document.createElement(tag)
  if (name) made.className = name
  if (words !== undefined) made.textContent = words
  return made
}

function plotly(address) {
  // One script for the whole page, however often the plots are drawn.
  if (window.Plotly) return Promise.resolve(window.Plotly)
  if (!window.xaiPlotly) {
    window.xaiPlotly = new Promise((resolve, reject) => {
      const script = element("script")
      script.src = new URL(address, document.baseURI).href
      script.onload = () => resolve(window.Plotly)
      script.onerror = () => {
        window.xaiPlotly = undefined
        reject(new Error("plotly could not be loaded"))
      }
      document.head.append(script)
    })
  }
  return window.xaiPlotly
}

class Plots {
  constructor(root) {
    this.root = root
    this.hidden = new Set()
    this.selected = EMPTY
    this.step = 0
    this.tooltip = root.querySelector(".tooltip")
    this.slider = root.querySelector("input")
    this.slider.oninput = () => this.moveTo(Number(this.slider.value))
    this.slider.onchange = () => this.tell("step", this.step)
    root.querySelector(".clear").onclick = () => this.select(EMPTY)
    this.observer = new ResizeObserver(() => this.fit())
    this.observer.observe(root)
  }

  // Plots as wide as their places, once the window or the column beside them has come to rest.
  fit() {
    clearTimeout(this.fitting)
    this.fitting = setTimeout(() => {
      const changed = this.plots?.some(({ plot, holder }) => plot.layout.width !== holder.clientWidth)
      if (changed) this.draw(false)
    }, 150)
  }

  async update({ data, setStateValue }) {
    this.tell = setStateValue
    const changed = !this.data || this.data.version !== data.version
    if (!this.data) this.begin(data.start)
    this.data = data
    if (changed) this.built = plotly(data.plotly).then((Plotly) => this.show(Plotly))
    await this.built
    const asked = data.wanted?.nonce
    if (asked && asked !== this.nonce) this.select(data.wanted.rows)
    this.nonce = asked ?? ""
  }

  // What was selected, shown and searched for when the visitor went to another page.
  begin({ rows, step, nonce }) {
    this.selected = rows
    this.step = step
    this.nonce = nonce
  }

  show(Plotly) {
    this.Plotly = Plotly
    this.read(this.data)
    this.build()
  }

  read(data) {
    this.views = data.panels.map((panel) => ({
      ...panel,
      steps: panel.steps.map((step) => ({
        x: numbers(step.x, Float32Array),
        y: numbers(step.y, Float32Array),
        group: numbers(step.group, Uint16Array),
        value: step.value ? numbers(step.value, Float32Array) : null,
        top: numbers(step.top, Int16Array),
        share: numbers(step.share, Uint8Array),
      })),
    }))
    this.labels = numbers(data.labels, Uint16Array)
    const names = data.legend.map((entry) => entry.name).join()
    if (names !== this.names) this.hidden.clear()
    if (this.names === undefined) {
      data.legend.forEach((entry, group) => data.start.hidden.includes(entry.name) && this.hidden.add(group))
    }
    this.names = names
    this.step = Math.min(this.step, data.severities.length - 1)
  }

  build() {
    const places = this.root.querySelector(".plots")
    places.querySelectorAll(".js-plotly-plot").forEach((plot) => this.Plotly.purge(plot))
    places.replaceChildren()
    this.plots = this.views.map((view) => {
      const frame = element("section")
      frame.append(element("h4", "", view.title))
      frame.setAttribute("role", "group")
      frame.setAttribute("aria-label", `${view.title}: a point for each image; what the map says stands below it`)
      const plot = element("div", "plot")
      const ring = element("div", "ring")
      const holder = element("div", "holder")
      holder.append(plot, ring)
      frame.append(holder, element("p", "words"))
      places.append(frame)
      return { plot, ring, frame, holder }
    })
    this.slider.max = this.data.severities.length - 1
    this.slider.value = this.step
    this.root.querySelector(".severity").hidden = this.data.severities.length < 2
    this.legend()
    this.draw(true)
  }

  moveTo(step) {
    this.step = step
    this.draw(false)
  }

  legend() {
    const list = this.root.querySelector(".legend")
    list.replaceChildren(...(this.data.bar ? [this.bar()] : this.data.legend.map((entry, group) => this.entry(entry, group))))
    this.press()
  }

  entry(entry, group) {
    const button = element("button", "", entry.name)
    const mark = element("span", "mark", entry.sign)
    mark.style.color = entry.colour
    button.prepend(mark)
    button.title = "Click or Enter: on or off. Double click, or with Shift: this one alone, or all."
    button.onclick = (event) => (event.shiftKey ? this.alone(group) : this.toggle(group))
    button.ondblclick = () => this.alone(group)
    return button
  }

  bar() {
    const { words, low, high } = this.data.bar
    const strip = element("span", "strip")
    const colours = this.data.scale.map(([place, colour]) => `${colour} ${100 * place}%`)
    strip.style.background = `linear-gradient(to right, ${colours.join(", ")})`
    const whole = element("span", "")
    whole.append(`${words} `, element("span", "", low), strip, element("span", "", high))
    return whole
  }

  press() {
    this.root.querySelectorAll(".legend button").forEach((button, group) => {
      button.setAttribute("aria-pressed", String(!this.hidden.has(group)))
    })
  }

  toggle(group) {
    if (!this.hidden.delete(group)) this.hidden.add(group)
    this.switched()
  }

  alone(group) {
    const all = this.data.legend.map((_, other) => other)
    const others = all.filter((other) => other !== group)
    const isAlone = others.every((other) => this.hidden.has(other)) && !this.hidden.has(group)
    this.hidden = new Set(isAlone ? EMPTY : others)
    this.switched()
  }

  switched() {
    this.press()
    this.draw(false)
    this.tell("hidden", [...this.hidden].map((group) => this.data.legend[group].name))
  }

  // What is drawn of one panel: a trace for each group that is on, and below them lines, outlines and density.
  traces(view) {
    const now = view.steps[this.step]
    const chosen = this.selected.length ? new Set(this.selected) : null
    const rows = this.data.legend.map(() => [])
    now.group.forEach((group, row) => rows[group].push(row))
    const size = this.data.size
    const found = [...this.below(view, now, rows)]
    this.data.legend.forEach((entry, group) => {
      if (this.hidden.has(group) || !rows[group].length) return
      const own = rows[group]
      const marker = { symbol: entry.marker, size, color: entry.colour, opacity: this.data.opacity }
      if (now.value) {
        Object.assign(marker, { color: own.map((row) => now.value[row]), cmin: 0, cmax: 1, colorscale: this.data.scale })
      }
      found.push({
        type: "scattergl", mode: "markers", hoverinfo: "none", showlegend: false, marker,
        x: own.map((row) => now.x[row]), y: own.map((row) => now.y[row]), customdata: own,
        selectedpoints: chosen ? own.flatMap((row, place) => (chosen.has(row) ? [place] : EMPTY)) : null,
        selected: { marker: { opacity: 1, size: size + 2 } },
        unselected: { marker: { opacity: 0.12 } },
      })
    })
    return found
  }

  // Contours, outlines and names are those of the figure: of the clean images, by class.
  *below(view, now, rows) {
    if (this.data.density && view.contours) {
      const { x, y, z, levels } = view.contours
      yield {
        type: "contour", x, y, z, showscale: false, showlegend: false, hoverinfo: "skip", autocontour: false, line: { width: 1 },
        contours: {
          coloring: "none", start: levels[0], end: levels[levels.length - 1], size: levels[1] - levels[0] || levels[0],
        },
      }
    }
    if (this.data.hulls) {
      for (const one of view.classes.filter((each) => this.isOn(each))) {
        yield {
          type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, x: one.hull.x, y: one.hull.y,
          line: { width: 1.2, color: one.colour },
        }
      }
    }
    if (this.data.faint && this.step) {
      const clean = view.steps[0]
      const marker = { size: this.data.size, color: this.data.scale[0][1], opacity: 0.5 }
      yield {
        type: "scattergl", mode: "markers", x: clean.x, y: clean.y, hoverinfo: "skip", showlegend: false, marker,
      }
    }
    const shown = rows.flatMap((own, group) => (this.hidden.has(group) ? EMPTY : own))
    if (this.data.arrows && this.step) yield this.arrows(view, now, shown)
  }

  isOn(one) {
    return one.group < 0 || !this.hidden.has(one.group)
  }

  // Lines from where an image was when clean to where it is now, those of the selection when there is one.
  arrows(view, now, shown) {
    const clean = view.steps[0]
    const chosen = this.selected.length ? this.selected.filter((row) => !this.hidden.has(now.group[row])) : shown
    const every = Math.max(1, Math.ceil(chosen.length / this.data.mostArrows))
    const x = []
    const y = []
    for (let place = 0; place < chosen.length; place += every) {
      const row = chosen[place]
      x.push(clean.x[row], now.x[row], null)
      y.push(clean.y[row], now.y[row], null)
    }
    return {
      type: "scattergl", mode: "lines", x, y, hoverinfo: "skip", showlegend: false,
      line: { width: 1, color: this.ink() }, opacity: 0.35,
    }
  }

  // The names of classes at their middles, above the points.
  namesOf(view) {
    return view.classes.filter((one) => this.isOn(one)).map((one) => ({
      x: one.x, y: one.y, text: escaped(one.name), showarrow: false, borderpad: 2,
      bgcolor: "white",
      bordercolor: one.colour, borderwidth: 1, opacity: 0.85, font: { size: 11, color: this.ink() },
    }))
  }

  // The plots are white sheets in any theme, as figures are: the colours of classes are chosen for one.
  ink() {
    return getComputedStyle(this.root.querySelector(".holder")).color
  }

  layout(view) {
    // Room for every step, so that the picture stands still while points move; one frame for maps laid onto each other.
    const steps = (this.data.together ? this.views : [view]).flatMap((one) => one.steps)
    const range = (axis) => {
      let low = Infinity
      let high = -Infinity
      for (const step of steps) for (const value of step[axis]) {
        if (value < low) low = value
        if (value > high) high = value
      }
      const room = 0.03 * (high - low || 1)
      return [low - room, high + room]
    }
    const axis = { showgrid: false, zeroline: false, showticklabels: false, ticks: "" }
    return {
      margin: { l: 4, r: 4, t: 4, b: 4 }, height: this.data.height, dragmode: "lasso", hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(127,127,127,0.05)", font: { color: this.ink() },
      xaxis: { ...axis, range: range("x") }, yaxis: { ...axis, range: range("y"), scaleanchor: "x" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "rgba(127,127,127,0.9)", activecolor: this.ink() }, uirevision: "kept",
    }
  }

  draw(fresh) {
    this.drawn = (this.drawn ?? 0) + 1
    const severity = this.data.severities[this.step]
    this.root.querySelector("output").textContent = severity ? this.data.degradation + ", severity " + severity : "clean"
    this.slider.setAttribute("aria-valuetext", this.root.querySelector("output").textContent)
    this.say()
    this.plots.forEach(({ plot, ring, frame, holder }, place) => {
      const view = this.views[place]
      frame.querySelector(".words").textContent = this.data.panels[place].steps[this.step].words
      ring.hidden = true
      const config = {
        displaylogo: false, scrollZoom: true,
        modeBarButtons: [["lasso2d", "select2d", "zoom2d", "pan2d", "resetScale2d"]], displayModeBar: true,
      }
      const layout = { ...(fresh ? this.layout(view) : plot.layout), selections: [] }
      layout.selectionrevision = this.drawn // what is selected is said here, and zooming is kept as it is
      layout.width = holder.clientWidth
      layout.annotations = this.data.centres ? this.namesOf(view) : EMPTY
      this.Plotly.react(plot, this.traces(view), layout, config)
      if (!fresh) return
      // An event without an outline is plotly's answer to the outline being taken away.
      plot.on("plotly_selected", (event) => {
        if (!event?.lassoPoints && !event?.range) return
        const rows = rowsOf(event.points)
        this.select(rows)
      })
      plot.on("plotly_deselect", () => this.select(EMPTY))
      plot.on("plotly_click", (event) => this.select(rowsOf(event.points)))
      plot.on("plotly_hover", (event) => this.hover(rowsOf(event.points)[0], event.event))
      plot.on("plotly_unhover", () => this.leave())
      plot.on("plotly_relayout", (change) => {
        this.leave()
        // Plotly keeps the outline and asks it again which points lie in it, with another answer at its edge.
        if (plot.layout.selections?.length) this.draw(false)
      })
    })
  }

  select(rows) {
    this.selected = rows
    this.leave()
    this.draw(false)
    this.tell("selected", rows)
  }

  say() {
    const count = this.selected.length
    const { group } = this.views[0].steps[this.step]
    const off = this.selected.filter((row) => this.hidden.has(group[row])).length
    const unseen = off ? `, ${off.toLocaleString("en")} of them switched off below` : ""
    this.root.querySelector(".count").textContent = count
      ? `${count.toLocaleString("en")} of ${this.labels.length.toLocaleString("en")} images selected${unseen}`
      : `${this.labels.length.toLocaleString("en")} images; draw around some of them to select them`
    this.root.querySelector(".clear").hidden = !count
  }

  // A ring around the image in every panel, and what each network says of it.
  hover(row, event) {
    if (row === undefined) return
    this.plots.forEach(({ plot, ring }, place) => {
      const now = this.views[place].steps[this.step]
      const { xaxis, yaxis } = plot._fullLayout
      ring.style.left = xaxis._offset + xaxis.l2p(now.x[row]) + "px"
      ring.style.top = yaxis._offset + yaxis.l2p(now.y[row]) + "px"
      ring.hidden = this.hidden.has(now.group[row])
    })
    const lines = this.views.map((view) => {
      const now = view.steps[this.step]
      const parts = [0, 1, 2].flatMap((place) => {
        const name = now.top[3 * row + place]
        return name < 0 ? EMPTY : [`${this.data.classes[name]} ${Math.round(now.share[3 * row + place] / 2.55)} %`]
      })
      return element("div", "", `${view.title}: ${parts.join(", ")}`)
    })
    const words = [element("b", "", this.data.classes[this.labels[row]]), ...lines, element("div", "id", this.data.ids[row])]
    this.tooltip.replaceChildren(...this.thumbnail(row), ...words)
    this.tooltip.hidden = false
    const frame = this.root.getBoundingClientRect()
    const right = event.clientX - frame.left > frame.width / 2
    this.tooltip.style.left = event.clientX - frame.left + (right ? -this.tooltip.offsetWidth - 14 : 14) + "px"
    this.tooltip.style.top = Math.max(0, event.clientY - frame.top - this.tooltip.offsetHeight / 2) + "px"
  }

  thumbnail(row) {
    const sheet = this.data.thumbnails
    if (!sheet) return EMPTY
    const picture = element("span", "picture")
    const side = 96
    picture.style.backgroundImage = `url("${new URL(sheet.url, document.baseURI).href}")`
    picture.style.backgroundSize = `${side * sheet.across}px auto`
    picture.style.backgroundPosition = `${-side * (row % sheet.across)}px ${-side * Math.floor(row / sheet.across)}px`
    return [picture]
  }

  leave() {
    this.tooltip.hidden = true
    this.plots.forEach(({ ring }) => (ring.hidden = true))
  }

  end() {
    this.observer.disconnect()
    clearTimeout(this.fitting)
    this.plots?.forEach(({ plot }) => this.Plotly.purge(plot))
  }
}

function rowsOf(points) {
  return points.flatMap((point) => (point.customdata === undefined ? EMPTY : [point.customdata])).sort((a, b) => a - b)
}

function escaped(words) {
  return words.replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`)
}

export default function (component) {
  const root = component.parentElement.querySelector(".xai-scatter")
  root.plots ??= new Plots(root)
  root.plots.update(component).catch((error) => {
    root.querySelector(".count").textContent = `The plots can't be drawn: ${error.message}.`
  })
  return () => {
    root.plots.end()
    root.plots = undefined
  }
}
