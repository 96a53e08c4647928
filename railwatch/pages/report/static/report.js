"use strict";
// What the page can do beyond being read: the chart moves, cards are found, dates are compared, the table
// sorts and becomes a file. Everything is there without it. It uses nothing but the browser.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const SVG = "http://www.w3.org/2000/svg";
  const DAY = 86400000;

  const svg = (name, attributes = {}, parent = null) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (parent) parent.append(node);
    return node;
  };
  const element = (name, className, text) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const round = (value) => String(Math.round(value * 100) / 100);
  const isoDay = (t) => new Date(t * DAY).toISOString().slice(0, 10);
  const show = (node, visible) => (visible ? node.removeAttribute("display") : node.setAttribute("display", "none"));

  // ---- ticks: only while the chart is zoomed; the whole chart has matplotlib's own ----------------

  const countTicks = (top, most = 5) => {
    const steps = Array.from({ length: 36 }, (_, i) => [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3));
    const step = steps.find((one) => top / one <= most) ?? top;
    return Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => step * i);
  };

  // Round days, months or years between two times, as fine as there is room for: [time, label].
  function timeTicks(first, last, room) {
    const every = (letters, begin, wanted) => {
      const ticks = [];
      for (let index = 0; ; index++) {
        const t = begin(index);
        if (t > last || ticks.length > room) return ticks;
        if (t >= first && wanted(new Date(t * DAY))) ticks.push([t, isoDay(t).slice(0, letters)]);
      }
    };
    const from = new Date(first * DAY);
    const month = (index) => Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + index, 1) / DAY;
    const levels = [
      ...[1, 2, 5, 10].map((step) => [10, (index) => Math.ceil(first) + index, (day) => (day.getUTCDate() - 1) % step === 0 && (step === 1 || day.getUTCDate() + step <= 32)]),
      ...[1, 3, 6].map((step) => [7, month, (day) => day.getUTCMonth() % step === 0]),
      ...[12, 24, 60, 120].map((step) => [4, month, (day) => day.getUTCMonth() === 0 && (day.getUTCFullYear() * 12) % step === 0]),
    ];
    for (const [letters, begin, wanted] of levels) {
      const ticks = every(letters, begin, wanted);
      if (ticks.length * (letters * 4.6 + 12) <= room) return ticks;
    }
    return [];
  }

  // ---- chart --------------------------------------------------------------------------------------
  // The drawing is matplotlib's, at three widths. What lies between the axes is stretched and moved here;
  // nothing else is drawn but the ticks of a part.

  const SHORTEST_DAYS = 10;

  class Chart {
    constructor(figure, place) {
      this.figure = figure;
      this.tip = figure.querySelector(".tip");
      this.box = figure.querySelector(".chart-box");
      this.range = figure.querySelector(".chart-range");
      this.records = new Map(data[place].marks.map((mark) => [mark.key, mark]));
      this.plots = [...this.box.querySelectorAll(".plot")].sort((a, b) => a.dataset.from - b.dataset.from);
      this.full = ["first", "last"].map((name) => Number(this.plots[0].dataset[name]));
      this.domain = [...this.full];
      this.hidden = new Set();
      this.on = null;
      this.pinned = false;
      this.pointers = new Map();
      this.box.tabIndex = -1;
      for (const plot of this.plots) plot.setAttribute("aria-describedby", figure.querySelector(".chart-help").id);
      this.choose();
      this.makeOverview();
      this.listen();
      this.draw();
      this.rove(this.headline || this.marks[this.marks.length - 1]);
    }

    // -- the drawing that fits

    choose(width = this.box.clientWidth || 960) {
      const plot = this.plots.filter((one) => Number(one.dataset.from) <= width).pop() || this.plots[0];
      if (plot === this.plot) return;
      const [focused, on] = [this.plot && this.plot.contains(document.activeElement), this.on];
      if (on) this.hideTip();
      this.box.replaceChildren(plot);
      this.plot = plot;
      const part = (selector) => plot.querySelector(selector);
      this.frame = Object.fromEntries(["left", "right", "top", "floor", "ticks", "max"].map((name) => [name, Number(plot.dataset[name])]));
      this.width = Number(plot.getAttribute("viewBox").split(" ")[2]);
      this.marks = [...plot.querySelectorAll(".mark")].map((node) => ({
        ...this.records.get(node.dataset.key),
        node,
        x: Number(node.dataset.x),
        y: Number(node.dataset.y),
        group: node.dataset.kind,
        line: node.querySelector(".interval"),
        span: (node.querySelector(".interval")?.dataset.span ?? "0 0").split(" ").map(Number),
        look: part(`.look[data-key="${CSS.escape(node.dataset.key)}"]`),
        label: part(`.named[data-key="${CSS.escape(node.dataset.key)}"]`),
      }));
      this.flags = [...plot.querySelectorAll(".flag")].map((node) => ({ node, x: Number(node.dataset.x) }));
      this.axes = [".x-axis", ".y-axis"].map((name) => ({ node: part(name), drawn: [...part(name).children] }));
      this.window = { area: part(".window-area"), max: part(".window-max"), label: part(".window-label"), expected: part(".expected") };
      this.headline = this.marks.find((mark) => mark.key === this.figure.dataset.headline) || null;
      if (this.current) this.rove(this.marks.find((mark) => mark.key === this.current.key));
      if (focused && this.current) this.current.node.focus({ preventScroll: true });
    }

    layout(width) {
      this.choose(width);
      this.draw();
    }

    // Of the whole drawing: where a time and a count stand. They are stretched from there.
    at(t) {
      const { left, right } = this.frame;
      return left + ((t - this.full[0]) / (this.full[1] - this.full[0])) * (right - left);
    }

    level(value) {
      const { floor, top, max } = this.frame;
      return floor - (value / max) * (floor - top);
    }

    get stretch() {
      const { left, floor, max } = this.frame;
      const [first, last] = this.domain;
      const sx = (this.full[1] - this.full[0]) / (last - first);
      const sy = max / this.top;
      return { sx, sy, tx: left - sx * this.at(first), ty: floor - sy * floor };
    }

    x(t) {
      const { sx, tx } = this.stretch;
      return sx * this.at(t) + tx;
    }

    y(mark) {
      const { sy, ty } = this.stretch;
      return mark.v === null ? mark.y : sy * mark.y + ty;
    }

    inView(mark) {
      return mark.t >= this.domain[0] && mark.t <= this.domain[1] && !this.hidden.has(mark.group);
    }

    draw() {
      const held = this.box.contains(document.activeElement);
      const [first, last] = this.domain;
      const { left, right, floor, max } = this.frame;
      const seen = this.marks.filter((mark) => this.inView(mark));
      const whole = !this.isZoomed() && !this.hidden.size;
      // Zoomed in, the counts in view fill the height; from 0 always.
      const counts = seen.flatMap((mark) => [mark.high ?? mark.v ?? 0, mark.filtered && !this.hidden.has("filtered") ? mark.filtered[2] : 0]);
      this.top = whole ? max : Math.max(Math.max(0, ...counts) * 1.08, 5);
      const { sx, sy, tx, ty } = this.stretch;
      for (const node of this.plot.querySelectorAll(".stretch")) node.setAttribute("transform", `matrix(${sx} 0 0 ${sy} ${tx} ${ty})`);
      for (const node of this.plot.querySelectorAll("pattern")) node.setAttribute("patternTransform", `scale(${1 / sx} ${1 / sy})`);
      this.plot.querySelector(".looks").setAttribute("transform", `matrix(${sx} 0 0 1 ${tx} 0)`);
      for (const { node, x } of this.flags) {
        node.setAttribute("transform", `translate(${round(sx * x + tx - x)},0)`);
        show(node, sx * x + tx >= left - 1 && sx * x + tx <= right + 1);
      }
      for (const node of this.plot.querySelectorAll("[data-kind]:not(.mark)")) show(node, !this.hidden.has(node.dataset.kind));
      // Who moves the chart by keyboard stays in it: the focus goes on to the nearest mark in view.
      if (held && this.current && !this.inView(this.current)) {
        const near = [...seen].sort((a, b) => Math.abs(a.t - this.current.t) - Math.abs(b.t - this.current.t))[0];
        if (near) {
          this.drawMark(near);
          this.rove(near);
        }
        (near ? near.node : this.box).focus({ preventScroll: true });
      }
      for (const mark of this.marks) this.drawMark(mark);
      this.drawAxes(whole);
      this.drawWindow(this.on && this.on.window ? this.on : this.headline);
      this.drawOverview();
      this.plot.classList.toggle("zoomed", this.isZoomed());
      this.range.textContent = `${isoDay(first)} to ${isoDay(last - 1e-6)}`;
      for (const button of this.figure.querySelectorAll(".chart-bar button")) {
        const off = { in: last - first <= SHORTEST_DAYS, out: !this.isZoomed(), all: !this.isZoomed(), left: first <= this.full[0], right: last >= this.full[1] }[button.dataset.do];
        button.setAttribute("aria-disabled", String(off));
      }
      if (this.on && !this.tip.hidden) this.inView(this.on) ? this.placeTip(this.on) : this.hideTip();
    }

    drawMark(mark) {
      const visible = this.inView(mark);
      show(mark.node, visible);
      if (mark.look) show(mark.look, visible);
      if (mark.label) show(mark.label, visible);
      if (!visible) return;
      const { sy } = this.stretch;
      const x = this.x(mark.t);
      mark.node.setAttribute("transform", `translate(${round(x)},${round(this.y(mark))})`);
      if (mark.line) mark.line.setAttribute("d", `M0,${round(mark.span[0] * sy)}V${round(mark.span[1] * sy)}`);
      if (!mark.label) return;
      mark.label.setAttribute("transform", mark.node.getAttribute("transform"));
      const box = mark.label.getBBox();
      show(mark.label, x + box.x >= this.frame.left && x + box.x + box.width <= this.width);
    }

    drawAxes(whole) {
      const { left, right, floor, top, ticks } = this.frame;
      const [xAxis, yAxis] = this.axes;
      for (const { node, drawn } of this.axes) node.replaceChildren(...drawn);
      if (whole) return;
      const size = { "font-size": 7.5, fill: "var(--ink)" };
      xAxis.node.replaceChildren();
      for (const [t, label] of timeTicks(...this.domain, right - left)) {
        const tick = svg("g", { class: "tick", transform: `translate(${round(this.x(t))},${round(ticks)})` }, xAxis.node);
        svg("path", { d: "M0,0V3.5" }, tick);
        svg("text", { y: 12, "text-anchor": "middle", ...size }, tick).textContent = label;
      }
      for (const tick of yAxis.node.querySelectorAll(".tick")) tick.remove();
      for (const value of countTicks(this.top)) {
        const tick = svg("g", { class: "tick", transform: `translate(0,${round(floor - (value / this.top) * (floor - top))})` }, yAxis.node);
        svg("path", { d: `M${left},0H${right}` }, tick);
        svg("text", { x: left - 6, y: 2.8, "text-anchor": "end", ...size }, tick).textContent = value.toLocaleString("en");
      }
    }

    // The look-back of one mark, in the places of the whole drawing: its group is stretched already.
    drawWindow(mark) {
      const { area, max, label, expected } = this.window;
      const { top, floor } = this.frame;
      const judged = Boolean(mark && mark.window);
      for (const node of [area, max, label]) if (node) show(node, judged);
      if (expected) show(expected, judged && Boolean(mark.expected) && this.inView(mark));
      if (!judged) return;
      const [begin, end] = mark.window.map((t) => clamp(this.at(t), this.at(this.full[0]), this.at(this.full[1])));
      if (area) area.setAttribute("d", `M${round(begin)},${floor}V${top}H${round(end)}V${floor}Z`);
      if (max) {
        show(max, mark.max !== null && mark.max <= this.top);
        max.setAttribute("d", mark.max === null ? "" : `M${round(begin)},${round(this.level(mark.max))}H${round(this.at(mark.t))}`);
      }
      if (expected && mark.expected) expected.setAttribute("d", `M${round(this.at(mark.t))},${round(this.level(mark.expected[0]))}V${round(this.level(Math.max(mark.expected[1], 0.5)))}`);
      const { sx, tx } = this.stretch;
      const from = Math.max(sx * begin + tx, this.frame.left);
      label.setAttribute("x", round(from + 4));
      label.textContent = mark.windowLabel;
      show(label, Math.min(sx * end + tx, this.frame.right) - from > 90);
    }

    // -- where one looks

    isZoomed() {
      return this.domain[1] - this.domain[0] < this.full[1] - this.full[0] - 1e-6;
    }

    show([first, last], animate = true) {
      const span = clamp(last - first, SHORTEST_DAYS, this.full[1] - this.full[0]);
      let start = (first + last - span) / 2;
      start = clamp(start, this.full[0], this.full[1] - span);
      const target = [start, start + span];
      cancelAnimationFrame(this.animation);
      if (!animate || calm.matches || document.hidden) {
        this.domain = target;
        this.draw();
        return;
      }
      const from = [...this.domain];
      const begin = performance.now();
      const step = (now) => {
        const share = clamp((now - begin) / 180, 0, 1);
        const eased = 1 - (1 - share) ** 3;
        this.domain = share === 1 ? target : from.map((value, i) => value + (target[i] - value) * eased);
        this.draw();
        if (share < 1) this.animation = requestAnimationFrame(step);
      };
      this.animation = requestAnimationFrame(step);
    }

    zoom(factor, around = (this.domain[0] + this.domain[1]) / 2, animate = true) {
      const [first, last] = this.domain;
      const span = clamp((last - first) * factor, SHORTEST_DAYS, this.full[1] - this.full[0]);
      const share = (around - first) / (last - first);
      this.show([around - share * span, around + (1 - share) * span], animate);
    }

    pan(share, animate = true) {
      const by = (this.domain[1] - this.domain[0]) * share;
      this.show([this.domain[0] + by, this.domain[1] + by], animate);
    }

    time(clientX) {
      const box = this.plot.getBoundingClientRect();
      const { left, right } = this.frame;
      const x = ((clientX - box.left) / box.width) * this.width;
      return this.domain[0] + ((x - left) / (right - left)) * (this.domain[1] - this.domain[0]);
    }

    do(what) {
      const actions = { in: () => this.zoom(0.5, this.focusTime()), out: () => this.zoom(2), all: () => this.show(this.full), left: () => this.pan(-0.5), right: () => this.pan(0.5) };
      actions[what]();
    }

    focusTime() {
      return this.on && this.inView(this.on) ? this.on.t : undefined;
    }

    // -- one mark

    rove(mark) {
      if (!mark) return;
      for (const other of this.marks) other.node.setAttribute("tabindex", other === mark ? "0" : "-1");
      this.current = mark;
    }

    select(mark, pinned = false) {
      if (this.on === mark && this.pinned === pinned && !this.tip.hidden) return;
      if (this.on) this.on.node.classList.remove("on");
      this.on = mark;
      this.pinned = pinned;
      mark.node.classList.add("on");
      this.fillTip(mark);
      this.drawWindow(mark.window ? mark : this.headline);
      this.placeTip(mark);
    }

    hideTip() {
      this.tip.hidden = true;
      if (this.on) this.on.node.classList.remove("on");
      this.on = null;
      this.pinned = false;
      this.drawWindow(this.headline);
    }

    fillTip(mark) {
      const line = (className, text) => text && lines.push(element("p", className, text));
      const lines = [];
      line("tip-quiet", mark.when);
      line("", mark.lengthText);
      line("tip-count", mark.v === null ? "No count" : `${mark.count} freight ${mark.count === "1" ? "car" : "cars"}`);
      line("", mark.v === null ? mark.reason : mark.interval && `${mark.kind === "range" ? "published as" : "90% interval"} ${mark.interval}`);
      line("tip-quiet", mark.filteredText);
      line("", [mark.how, mark.source].filter(Boolean).join(" · "));
      line("tip-quiet", mark.scene);
      line("", mark.verdict && `Verdict: ${mark.verdict}`);
      const link = element("a", "", mark.target.startsWith("scene-") ? "Open the evidence" : "Open its row in the table");
      link.href = `#${mark.target}`;
      link.tabIndex = -1;
      this.tip.replaceChildren(...lines, link);
      this.tip.classList.toggle("pinned", this.pinned);
      this.tip.hidden = false;
    }

    placeTip(mark) {
      const box = this.plot.getBoundingClientRect();
      const frame = this.figure.getBoundingClientRect();
      const scale = box.width / this.width;
      const x = box.left - frame.left + this.x(mark.t) * scale;
      const y = box.top - frame.top + this.y(mark) * scale;
      const { offsetWidth: wide, offsetHeight: high } = this.tip;
      const beside = x + 20 + wide <= frame.width ? x + 20 : x - 20 - wide >= 0 ? x - 20 - wide : null;
      const left = beside === null ? clamp(x - wide / 2, 0, Math.max(frame.width - wide, 0)) : beside;
      const above = y - high - 18;
      const top = beside === null ? (above > 0 ? above : y + 18) : y - high / 2;
      this.tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    }

    nearest(event, reach) {
      const box = this.plot.getBoundingClientRect();
      const scale = box.width / this.width;
      let best = null;
      let least = reach;
      for (const mark of this.marks) {
        if (!this.inView(mark)) continue;
        const y = this.y(mark);
        // Of marks that lie on one another, the one with evidence is meant.
        const extra = mark.target.startsWith("scene-") ? 0 : 3;
        const distance = extra + Math.hypot(event.clientX - box.left - this.x(mark.t) * scale, event.clientY - box.top - y * scale);
        if (distance < least) [best, least] = [mark, distance];
      }
      return best;
    }

    step(direction) {
      const visible = this.marks.filter((mark) => !this.hidden.has(mark.group));
      if (!visible.length) return;
      const at = visible.indexOf(this.current);
      const next = direction === "first" ? 0 : direction === "last" ? visible.length - 1 : clamp(at + direction, 0, visible.length - 1);
      const mark = visible[next];
      if (!this.inView(mark)) {
        const span = this.domain[1] - this.domain[0];
        this.show([mark.t - span / 2, mark.t + span / 2], false);
      }
      this.rove(mark);
      mark.node.focus({ preventScroll: false });
    }

    // -- events

    listen() {
      const plot = this.box;
      plot.addEventListener("keydown", (event) => this.key(event));
      plot.addEventListener("focusin", (event) => {
        const mark = this.marks.find((one) => one.node === event.target.closest(".mark"));
        if (!mark || this.pointers.size) return;
        this.rove(mark);
        this.select(mark);
      });
      plot.addEventListener("focusout", () => this.pinned || this.hideTip());
      plot.addEventListener("pointerdown", (event) => this.down(event));
      plot.addEventListener("pointermove", (event) => this.move(event));
      for (const name of ["pointerup", "pointercancel"]) plot.addEventListener(name, (event) => this.up(event));
      plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !this.pointers.size && !plot.contains(document.activeElement) && this.hideTip());
      plot.addEventListener("click", (event) => this.click(event));
      plot.addEventListener("dblclick", (event) => this.nearest(event, 16) || this.zoom(event.shiftKey ? 2 : 0.5, this.time(event.clientX)));
      plot.addEventListener("dragstart", (event) => event.preventDefault());
      plot.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      document.addEventListener("pointerdown", (event) => this.pinned && !this.figure.contains(event.target) && this.hideTip());
      this.figure.addEventListener("keydown", (event) => event.key === "Escape" && this.hideTip());
      for (const button of this.figure.querySelectorAll(".chart-bar button")) {
        button.addEventListener("click", () => button.getAttribute("aria-disabled") === "true" || this.do(button.dataset.do));
      }
      for (const input of this.figure.querySelectorAll("[data-hide]")) {
        const name = input.dataset.hide;
        input.addEventListener("change", () => {
          input.checked ? this.hidden.delete(name) : this.hidden.add(name);
          this.draw();
        });
      }
      new ResizeObserver(() => printing || this.layout()).observe(this.box);
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const shift = event.shiftKey;
      const actions = {
        ArrowLeft: () => (shift ? this.pan(-0.25) : this.step(-1)),
        ArrowRight: () => (shift ? this.pan(0.25) : this.step(1)),
        Home: () => this.step("first"),
        End: () => this.step("last"),
        "+": () => this.do("in"),
        "=": () => this.do("in"),
        "-": () => this.do("out"),
        0: () => this.do("all"),
      };
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    down(event) {
      if (event.pointerType === "mouse" && event.button !== 0) return;
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      this.moved = this.pointers.size > 1;
      this.start = { domain: [...this.domain], x: event.clientX, y: event.clientY, type: event.pointerType, spread: this.spread(), middle: this.middle() };
    }

    spread() {
      const [a, b] = [...this.pointers.values()];
      return b ? Math.max(Math.abs(a.x - b.x), 12) : 0;
    }

    middle() {
      const all = [...this.pointers.values()];
      return all.reduce((sum, one) => sum + one.x, 0) / all.length;
    }

    move(event) {
      const pointer = this.pointers.get(event.pointerId);
      if (!pointer) {
        if (event.pointerType !== "mouse" || this.plot.classList.contains("dragging")) return;
        const mark = this.nearest(event, 28);
        if (mark) this.select(mark);
        else if (!this.pinned && !this.plot.contains(document.activeElement)) this.hideTip();
        return;
      }
      pointer.x = event.clientX;
      pointer.y = event.clientY;
      const box = this.plot.getBoundingClientRect();
      const { left, right } = this.frame;
      const perPixel = (this.width / box.width) * ((this.start.domain[1] - this.start.domain[0]) / (right - left));
      if (this.pointers.size > 1) {
        const factor = this.start.spread / this.spread();
        const [first, last] = this.start.domain;
        const at = first + ((this.start.middle - box.left) * (this.width / box.width) - left) / (right - left) * (last - first);
        const shift = (this.start.middle - this.middle()) * perPixel * factor;
        this.show([at - (at - first) * factor + shift, at + (last - at) * factor + shift], false);
        this.moved = true;
        return;
      }
      const by = event.clientX - this.start.x;
      if (!this.moved && Math.abs(by) < 6) return;
      if (!this.moved) {
        this.moved = true;
        if (this.isZoomed()) {
          this.plot.setPointerCapture(event.pointerId);
          this.plot.classList.add("dragging");
          this.hideTip();
        }
      }
      if (this.isZoomed()) this.show(this.start.domain.map((t) => t - by * perPixel), false);
    }

    up(event) {
      if (!this.pointers.delete(event.pointerId)) return;
      this.plot.classList.remove("dragging");
      if (this.pointers.size) this.start = { ...this.start, domain: [...this.domain], x: [...this.pointers.values()][0].x };
    }

    click(event) {
      const onMark = event.target.closest(".mark");
      // A key press on a link is a click too, one that comes from nowhere.
      if (event.detail === 0 && onMark) return;
      if (onMark) event.preventDefault();
      if (this.moved) return;
      const touch = this.start && this.start.type !== "mouse";
      const mark = this.nearest(event, touch ? 34 : 28);
      if (!mark) {
        this.hideTip();
        return;
      }
      this.rove(mark);
      if (touch && !(this.on === mark && this.pinned)) this.select(mark, true);
      else find(mark.target);
    }

    wheel(event) {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.zoom(Math.exp(clamp(event.deltaY, -60, 60) * 0.008), this.time(event.clientX), false);
      } else if (this.isZoomed() && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        this.pan(event.deltaX / this.width, false);
      }
    }

    // -- the small chart below, with the part that is shown

    makeOverview() {
      const holder = this.figure.querySelector(".chart-overview");
      this.overview = holder;
      const strip = svg("svg", { viewBox: "0 0 1000 40", preserveAspectRatio: "none" });
      svg("rect", { class: "track", width: 1000, height: 40 }, strip);
      const top = Math.max(5, ...this.marks.map((mark) => mark.v ?? 0));
      for (const mark of this.marks) {
        if (mark.v === null) continue;
        const x = this.share(mark.t) * 1000;
        svg("path", { class: "bar", d: `M${round(x)},38V${round(38 - Math.max((mark.v / top) * 34, 1.5))}`, "vector-effect": "non-scaling-stroke" }, strip);
      }
      this.shown = svg("rect", { class: "shown", y: 0.5, height: 39, "vector-effect": "non-scaling-stroke" }, strip);
      this.grips = [0, 1].map(() => svg("rect", { class: "grip", y: 8, height: 24 }, strip));
      holder.append(strip);
      const at = (event) => {
        const box = strip.getBoundingClientRect();
        return this.full[0] + clamp((event.clientX - box.left) / box.width, 0, 1) * (this.full[1] - this.full[0]);
      };
      let hold = null;
      strip.addEventListener("pointerdown", (event) => {
        const box = strip.getBoundingClientRect();
        const reach = (14 / box.width) * (this.full[1] - this.full[0]);
        const t = at(event);
        const [first, last] = this.domain;
        const near = [Math.abs(t - first), Math.abs(t - last)];
        const kind = this.isZoomed() && t > first + reach && t < last - reach ? "move" : Math.min(...near) < reach ? (near[0] < near[1] ? "first" : "last") : "new";
        hold = { kind, t, domain: [first, last] };
        strip.setPointerCapture(event.pointerId);
      });
      strip.addEventListener("pointermove", (event) => {
        if (!hold) return;
        const t = at(event);
        const [first, last] = hold.domain;
        if (hold.kind === "move") this.show([first + t - hold.t, last + t - hold.t], false);
        if (hold.kind === "first") this.show([Math.min(t, last - SHORTEST_DAYS), last], false);
        if (hold.kind === "last") this.show([first, Math.max(t, first + SHORTEST_DAYS)], false);
        if (hold.kind === "new" && Math.abs(t - hold.t) > SHORTEST_DAYS) this.show([Math.min(t, hold.t), Math.max(t, hold.t)], false);
      });
      for (const name of ["pointerup", "pointercancel"]) strip.addEventListener(name, () => (hold = null));
      strip.addEventListener("dblclick", () => this.show(this.full));
    }

    share(t) {
      return (t - this.full[0]) / (this.full[1] - this.full[0]);
    }

    drawOverview() {
      this.overview.classList.toggle("zoomed", this.isZoomed());
      const [x0, x1] = this.domain.map((t) => this.share(t) * 1000);
      this.shown.setAttribute("x", round(x0));
      this.shown.setAttribute("width", round(Math.max(x1 - x0, 2)));
      const wide = 5000 / Math.max(this.box.clientWidth, 1);
      this.grips[0].setAttribute("x", round(x0));
      this.grips[1].setAttribute("x", round(x1 - wide));
      for (const grip of this.grips) grip.setAttribute("width", round(wide));
    }
  }

  // ---- finding the evidence -----------------------------------------------------------------------

  function find(id) {
    const named = document.getElementById(id);
    if (!named) return;
    // A day's address is that of its card; what lies in a fold is unfolded first.
    const target = named.closest("h3, h4")?.closest(".card") ?? named;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
    target.focus({ preventScroll: true });
    target.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
    target.classList.remove("found");
    void target.offsetWidth;
    target.classList.add("found");
    history.replaceState(null, "", `#${id}`);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = decodeURIComponent(link.getAttribute("href").slice(1));
    if (link.dataset.mark) {
      event.preventDefault();
      const chart = charts.find((one) => one.records.has(link.dataset.mark));
      chart.figure.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
      const record = chart.marks.find((one) => one.key === link.dataset.mark);
      if (!record) return;
      if (!chart.inView(record)) chart.show(chart.full, false);
      chart.rove(record);
      record.node.focus({ preventScroll: true });
      chart.select(record);
    } else if (id.startsWith("scene-") || id.startsWith("row-")) {
      event.preventDefault();
      find(id);
    } else {
      for (let fold = document.getElementById(id)?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    }
  });

  // ---- table --------------------------------------------------------------------------------------

  for (const table of document.querySelectorAll("table.numbers")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = element("button", "", heading.textContent);
      button.type = "button";
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
        const sign = down ? -1 : 1;
        const rows = [...body.rows].map((row, index) => ({ row, index, value: value(row) }));
        const numeric = rows.every(({ value: text }) => text !== "" && !Number.isNaN(Number(text)));
        rows.sort((a, b) => sign * (numeric ? Number(a.value) - Number(b.value) : a.value.localeCompare(b.value, "en", { numeric: true })) || a.index - b.index);
        body.append(...rows.map(({ row }) => row));
      });
    });
  }

  for (const button of document.querySelectorAll("[data-csv]")) {
    button.addEventListener("click", () => {
      const place = data[button.dataset.csv];
      // The mark at the beginning tells Excel that it is UTF-8.
      const url = URL.createObjectURL(new Blob(["\ufeff", place.csv], { type: "text/csv;charset=utf-8" }));
      const link = element("a");
      link.href = url;
      link.download = place.file;
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    });
  }

  // ---- copying ------------------------------------------------------------------------------------

  async function copy(text, from) {
    const said = from.closest(".share").querySelector(".copied");
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages from a disk may have no clipboard of their own; the old way works there.
      const area = element("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
      from.focus();
    }
    said.textContent = done ? "Copied." : "This browser doesn't let a page copy: mark the text and copy it.";
    setTimeout(() => (said.textContent = ""), 4000);
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy).textContent, button));
  }
  for (const button of document.querySelectorAll("[data-copy-link]")) {
    button.addEventListener("click", () => copy(new URL(button.dataset.copyLink, location.href).href, button));
  }

  // ---- comparison ---------------------------------------------------------------------------------

  // The second picture's place in the first, both in shares of the width, or null where they don't meet.
  const laidOver = (first, second) => {
    if (first.length !== 6 || second.length !== 6) return null;
    const [a, b, c, d, e, f] = first;
    const det = a * e - b * d;
    const inside = (x, y) => [(e * x - b * y) / det, (a * y - d * x) / det];
    const [p, q, r, s, t, u] = second;
    const [m, n] = [inside(p, s), inside(q, t)];
    const at = inside(r - c, u - f);
    const scale = Math.hypot(...m);
    // Pictures that hardly share any ground, or at scales that hide one in the other, stay side by side.
    const meet = scale > 0.2 && scale < 5 && at[0] < 0.9 && at[1] < 0.9 && at[0] + m[0] > 0.1 && at[1] + n[1] > 0.1;
    return meet ? [m[0], n[0], at[0], m[1], n[1], at[1]] : null;
  };

  class Comparison {
    constructor(section) {
      this.section = section;
      this.stages = section.querySelector(".stages");
      this.slide = section.querySelector(".slide");
      this.range = this.slide.querySelector("input");
      this.edge = section.querySelector(".edge");
      this.note = section.querySelector(".compare-note");
      this.slider = section.querySelector("input[value=slider]");
      this.side = section.querySelector("input[value=side]");
      this.panes = [...section.querySelectorAll(".pane")].map((pane) => ({ pane, stage: pane.querySelector(".stage"), image: pane.querySelector("img"), caption: pane.querySelector("figcaption"), select: section.querySelector(`select[data-side=${pane.dataset.side}]`) }));
      this.reset();
      for (const one of this.panes) {
        one.select.addEventListener("change", () => this.load());
        one.stage.addEventListener("pointerdown", (event) => this.down(event));
        one.stage.addEventListener("pointermove", (event) => this.move(event, one.stage));
        for (const name of ["pointerup", "pointercancel"]) one.stage.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
        one.stage.addEventListener("dragstart", (event) => event.preventDefault());
        one.stage.addEventListener("wheel", (event) => this.wheel(event, one.stage), { passive: false });
        one.stage.addEventListener("keydown", (event) => this.key(event));
      }
      for (const button of section.querySelectorAll(".zoom button")) button.addEventListener("click", () => this.do(button.dataset.do));
      for (const input of [this.slider, this.side]) input.addEventListener("change", () => this.draw());
      this.range.addEventListener("input", () => this.draw());
      this.pointers = new Map();
      this.load();
    }

    reset() {
      [this.scale, this.x, this.y] = [1, 0, 0];
    }

    load() {
      for (const one of this.panes) {
        const from = document.querySelector(`img[data-card="${CSS.escape(one.select.value)}"]`);
        one.image.src = from.src;
        one.drawn?.remove();
        one.drawn = from.parentElement.querySelector(".overlay")?.cloneNode(true) ?? null;
        if (one.drawn) one.image.after(one.drawn);
        one.image.alt = from.alt;
        one.image.width = from.getAttribute("width");
        one.image.height = from.getAttribute("height");
        one.ground = (from.dataset.ground ?? "").split(" ").map(Number);
        one.insets = from.dataset.insets ?? "0 0 0 0";
        one.caption.textContent = one.select.selectedOptions[0].textContent;
      }
      const [a, b] = this.panes.map(({ image }) => Number(image.getAttribute("width")));
      this.over = laidOver(...this.panes.map(({ ground }) => ground));
      this.alike = this.over !== null || (!this.panes.every(({ ground }) => ground.length === 6) && Math.abs(a - b) <= 0.015 * Math.max(a, b));
      this.draw();
    }

    do(what) {
      if (what === "all") this.reset();
      else this.zoom(what === "in" ? 1.6 : 1 / 1.6);
      this.draw();
    }

    // x and y are the picture's left upper corner as shares of the stage's width.
    zoom(factor, at = [0.5, 0.3]) {
      const scale = clamp(this.scale * factor, 1, 12);
      const by = scale / this.scale;
      this.x = at[0] - (at[0] - this.x) * by;
      this.y = at[1] - (at[1] - this.y) * by;
      this.scale = scale;
    }

    key(event) {
      const actions = {
        ArrowLeft: () => (this.x += 0.1),
        ArrowRight: () => (this.x -= 0.1),
        ArrowUp: () => (this.y += 0.1),
        ArrowDown: () => (this.y -= 0.1),
        "+": () => this.zoom(1.6),
        "=": () => this.zoom(1.6),
        "-": () => this.zoom(1 / 1.6),
        0: () => this.reset(),
      };
      if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key.startsWith("Arrow") && this.scale === 1) return;
      event.preventDefault();
      actions[event.key]();
      this.draw();
    }

    down(event) {
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (this.scale > 1) event.currentTarget.setPointerCapture(event.pointerId);
    }

    move(event, stage) {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const wide = stage.clientWidth;
      const now = [event.clientX, event.clientY];
      if (this.pointers.size === 2) {
        const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
        const box = stage.getBoundingClientRect();
        const distance = (point) => Math.max(Math.hypot(point[0] - other[0], point[1] - other[1]), 10);
        this.zoom(distance(now) / distance(before), [((now[0] + other[0]) / 2 - box.left) / wide, ((now[1] + other[1]) / 2 - box.top) / wide]);
      } else if (this.scale > 1) {
        this.x += (now[0] - before[0]) / wide;
        this.y += (now[1] - before[1]) / wide;
      }
      this.pointers.set(event.pointerId, now);
      this.draw();
    }

    wheel(event, stage) {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      this.zoom(Math.exp(clamp(-event.deltaY, -60, 60) * 0.008), [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.width]);
      this.draw();
    }

    draw() {
      const slider = this.slider.checked && this.alike;
      if (this.slider.checked && !this.alike) this.side.checked = true;
      this.slider.disabled = !this.alike;
      this.note.textContent = this.alike
        ? slider
          ? this.over
            ? "The pictures are laid over each other by their position on the ground, as exact as that of each image."
            : "The pictures are laid over each other by their upper left corners; they match where both show the whole area."
          : ""
        : "These two pictures show different stretches of ground, so they can't be laid over each other.";
      this.stages.classList.toggle("slider", slider);
      this.stages.classList.toggle("zoomed", this.scale > 1);
      this.slide.hidden = !slider;
      this.edge.style.left = `${this.range.value}%`;
      [...this.edge.children].forEach((label, index) => (label.textContent = this.panes[index].caption.textContent.split(",")[0]));
      const heights = this.panes.map(({ image }) => Number(image.getAttribute("height")) / Number(image.getAttribute("width")));
      this.x = clamp(this.x, 1 - this.scale, 0);
      this.y = clamp(this.y, Math.max(...heights) * (1 - this.scale), 0);
      this.panes.forEach(({ stage, image }, index) => {
        const wide = stage.clientWidth;
        const over = slider && index === 1 && this.over;
        const [a, b, c, d, e, f] = over || [1, 0, 0, 0, 1, 0];
        for (const layer of [image, this.panes[index].drawn].filter(Boolean)) {
          layer.style.transform = `translate(${this.x * wide}px, ${this.y * wide}px) scale(${this.scale}) matrix(${a}, ${d}, ${b}, ${e}, ${c * wide}, ${f * wide})`;
          layer.style.clipPath = over ? `inset(${this.panes[index].insets})` : "";
        }
        stage.style.clipPath = slider && index === 1 ? `inset(0 0 0 ${this.range.value}%)` : "";
      });
    }
  }

  // ---- pictures in full size ----------------------------------------------------------------------

  const box = document.querySelector(".lightbox");
  const size = box.querySelector(".lightbox-size");
  const boxImage = box.querySelector("img");
  const fit = (actual) => {
    box.classList.toggle("actual", actual);
    size.setAttribute("aria-pressed", String(actual));
  };
  size.addEventListener("click", () => fit(!box.classList.contains("actual")));
  box.querySelector(".lightbox-close").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => event.target === box && box.close());
  for (const picture of document.querySelectorAll(".evidence .picture")) {
    const image = picture.querySelector("img");
    const button = element("button");
    button.type = "button";
    button.append(...picture.childNodes);
    picture.append(button);
    button.setAttribute("aria-label", `Enlarge. ${image.alt}`);
    button.addEventListener("click", () => {
      boxImage.src = image.src;
      boxImage.alt = image.alt;
      boxImage.width = image.getAttribute("width");
      boxImage.height = image.getAttribute("height");
      boxImage.parentElement.querySelector(".overlay")?.remove();
      const outlines = button.closest(".evidence").querySelector(".outlines-switch input");
      const drawn = button.querySelector(".overlay")?.cloneNode(true);
      if (drawn) {
        drawn.classList.toggle("bare", Boolean(outlines && !outlines.checked));
        boxImage.after(drawn);
      }
      box.querySelector(".lightbox-title").textContent = button.closest(".card").querySelector("time").textContent;
      fit(false);
      box.showModal();
    });
  }

  // ---- print --------------------------------------------------------------------------------------

  let printing = false;
  let unfolded = [];
  addEventListener("beforeprint", () => {
    printing = true;
    unfolded = [...document.querySelectorAll("details:not([open])")].filter((one) => !one.closest(".more-cards"));
    for (const one of unfolded) one.open = true;
    for (const chart of charts) {
      chart.hideTip();
      chart.layout(688);
    }
  });
  addEventListener("afterprint", () => {
    printing = false;
    for (const one of unfolded) one.open = false;
    for (const chart of charts) chart.layout();
  });

  const charts = [...document.querySelectorAll(".place")].map((place) => new Chart(place.querySelector(".chart"), place.dataset.place));
  for (const section of document.querySelectorAll(".compare")) {
    const comparison = new Comparison(section);
    new ResizeObserver(() => comparison.draw()).observe(section);
  }
  if (location.hash.length > 1) find(decodeURIComponent(location.hash.slice(1)));
})();
