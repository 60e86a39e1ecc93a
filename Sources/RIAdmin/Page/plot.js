// Throughput over the last minutes, as a drawing.

import { bits, rate } from "./figures.js";
import { clock, el } from "./parts.js";

const HISTORY_SECONDS = 180;
const SIDES = ["out", "in"];
const INSET = { left: 68, right: 4, top: 6, bottom: 20 };

function svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text != null) node.textContent = text;
  return node;
}

/// A round number of bits a second, not below the value.
function roundUp(value) {
  const least = Math.max(value, 1000);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 4, 8, 10].map((step) => step * power).find((bound) => bound >= least);
}

export class Plot {
  #points = [];
  /// Where the pointer is, in pixels.
  #at = null;

  constructor(node) {
    this.node = node;
    this.tip = node.querySelector(".tip");
    this.root = svg("svg", { "aria-hidden": "true" });
    node.prepend(this.root);
    new ResizeObserver(() => this.draw()).observe(node);
    node.addEventListener("pointermove", (event) => {
      this.#at = event.clientX - node.getBoundingClientRect().left;
      this.draw();
    });
    node.addEventListener("pointerleave", () => {
      this.#at = null;
      this.draw();
    });
  }

  /// `{ now, date, in, out }`: seconds, and bytes a second.
  push(point) {
    this.#points.push(point);
    while (this.#points[0].now < point.now - HISTORY_SECONDS) this.#points.shift();
    this.draw();
  }

  draw() {
    const [width, height] = [this.node.clientWidth, this.node.clientHeight];
    if (width === 0) return;
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const newest = this.#points.at(-1)?.now ?? 0;
    const most = roundUp(8 * Math.max(0, ...this.#points.flatMap((p) => [p.in, p.out]))) / 8;
    const plain = { width: width - INSET.left - INSET.right, base: height - INSET.bottom };
    const x = (now) => INSET.left + (1 - (newest - now) / HISTORY_SECONDS) * plain.width;
    const y = (value) => plain.base - (value / most) * (plain.base - INSET.top);
    this.root.replaceChildren(
      ...this.#grid(most, y, width),
      ...this.#times(newest, x, height),
      ...SIDES.flatMap((side) => this.#line(side, x, y)),
      ...this.#cross(x, y, width, plain.base),
    );
  }

  #grid(most, y, width) {
    return [0, 1, 2, 3, 4].flatMap((i) => {
      const value = (most * i) / 4;
      const ends = { x1: INSET.left, x2: width - INSET.right, y1: y(value), y2: y(value) };
      const line = svg("line", { ...ends, class: i ? "grid" : "base" });
      if (i % 2) return [line];
      const [number, unit] = bits(value);
      const text = i ? `${Number(number)} ${unit}` : "0";
      const at = { x: INSET.left - 10, y: y(value) + 4, "text-anchor": "end" };
      return [line, svg("text", at, text)];
    });
  }

  #times(newest, x, height) {
    return [3, 2, 1, 0].map((minutes) => {
      const anchor = { 3: "start", 0: "end" }[minutes] ?? "middle";
      const at = { x: x(newest - minutes * 60), y: height - 4, "text-anchor": anchor };
      return svg("text", at, minutes ? `−${minutes} min` : "now");
    });
  }

  #line(side, x, y) {
    if (this.#points.length < 2) return [];
    const line = this.#points.map((p) => `${x(p.now).toFixed(1)},${y(p[side]).toFixed(1)}`);
    const [first, last] = [this.#points[0], this.#points.at(-1)].map((p) => `${x(p.now)},${y(0)}`);
    return [
      svg("path", { class: `fill ${side}`, d: `M${[first, ...line, last].join("L")}Z` }),
      svg("path", { class: `line ${side}`, d: `M${line.join("L")}` }),
    ];
  }

  /// What the pointer points at.
  #cross(x, y, width, base) {
    this.tip.hidden = this.#at == null || this.#points.length === 0;
    if (this.tip.hidden) return [];
    const distance = (p) => Math.abs(x(p.now) - this.#at);
    const point = this.#points.reduce((best, p) => (distance(p) < distance(best) ? p : best));
    const line = (side) =>
      el("div", {}, el("span", {}, el("i", { class: `key ${side}` }), side),
        el("b", {}, rate(point[side])));
    this.tip.replaceChildren(el("time", {}, clock(point.date)), line("in"), line("out"));
    const [at, tipWidth] = [x(point.now), this.tip.offsetWidth];
    this.tip.style.left = `${at + 12 + tipWidth > width ? at - 12 - tipWidth : at + 12}px`;
    return [
      svg("line", { class: "cross", x1: at, x2: at, y1: INSET.top, y2: base }),
      ...SIDES.map((side) => svg("circle", { class: side, cx: at, cy: y(point[side]), r: 4 })),
    ];
  }
}
