// One plot: lines on a canvas, and on another above it what the pointer shows.

const HEIGHT = 190;
const GUTTER = 54;
const FOOT = 20;
const TOP = 6;
const RIGHT = 8;

class Plot {
  constructor(name, onHover, onZoom) {
    this.name = name;
    this.unit = unitOf(name);
    this.lines = [];
    this.onHover = onHover;
    this.onZoom = onZoom;
    this.canvas = el("canvas", { tabindex: 0, role: "img" });
    this.over = el("canvas", { class: "over", "aria-hidden": "true" });
    this.over.style.position = "absolute";
    this.over.style.left = 0;
    this.over.style.bottom = 0;
    this.over.style.pointerEvents = "none";
    this.value = el("span", { class: "now" });
    const title = el("b", { dir: "auto", title: name }, titleOf(name));
    this.tip = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.node = el("figure", { class: "plot" }, el("figcaption", {}, title, this.value), this.canvas, this.over, this.tip);
    this.listen();
  }

  get width() {
    return this.canvas.clientWidth || 330;
  }

  /** Where x is on the canvas, and what is there. */
  px(x) {
    const [from, to] = this.xs;
    return GUTTER + ((x - from) / (to - from || 1)) * (this.width - GUTTER - RIGHT);
  }

  xAt(px) {
    const [from, to] = this.xs;
    return from + ((px - GUTTER) / (this.width - GUTTER - RIGHT)) * (to - from);
  }

  py(y) {
    const [from, to] = this.ys;
    const share = this.isLog ? Math.log(y / from) / Math.log(to / from || 1) : (y - from) / (to - from || 1);
    return HEIGHT - FOOT - share * (HEIGHT - FOOT - TOP);
  }

  /** The lowest and the highest value that can be seen. */
  bounds() {
    let [low, high] = [Infinity, -Infinity];
    for (const line of this.lines) {
      for (let at = 0; at < line.x.length; at += 1) {
        if (line.x[at] < this.xs[0] || line.x[at] > this.xs[1]) continue;
        const least = this.isLog && !(line.min[at] > 0) ? line.mean[at] : line.min[at];
        if (this.isLog && !(least > 0)) continue;
        if (least < low) low = least;
        if (line.max[at] > high) high = line.max[at];
      }
    }
    if (low > high) return this.isLog ? [0.1, 1] : [0, 1];
    if (this.isLog) return low === high ? [low / 2, high * 2] : [low / 1.08, high * 1.08];
    if (low === high) {
      const room = Math.abs(low) * 0.1 || 1;
      return [low - room, high + room];
    }
    const room = (high - low) * 0.06;
    // What cannot be negative has no axis below zero.
    return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
  }

  /** Draws everything. `xs` is the visible part of the horizontal axis, `axis` its kind. */
  draw(lines, xs, axis, isLog) {
    this.lines = lines;
    this.xs = xs[0] === xs[1] ? [xs[0] - 0.5, xs[1] + 0.5] : xs;
    this.axis = axis;
    const isPositive = lines.some((line) => line.max.some((value) => value > 0));
    this.isLog = isLog && isPositive;
    this.ys = this.bounds();
    this.repaint();
    this.describe();
  }

  size(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.width * ratio), Math.round(HEIGHT * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      canvas.style.width = canvas === this.over ? `${this.width}px` : "";
      canvas.style.height = `${HEIGHT}px`;
    }
    const to = canvas.getContext("2d");
    to.setTransform(ratio, 0, 0, ratio, 0, 0);
    to.clearRect(0, 0, this.width, HEIGHT);
    return to;
  }

  repaint() {
    const to = this.size(this.canvas);
    paintAxes(this, to);
    to.save();
    to.beginPath();
    to.rect(GUTTER, 0, this.width - GUTTER - RIGHT + 1, HEIGHT - FOOT + 1);
    to.clip();
    for (const line of this.lines) this.paintLine(to, line);
    to.restore();
    this.point(null);
  }

  paintLine(to, line) {
    const weight = state.smooth;
    const mean = line.isExact ? line.mean : smoothed(line.mean, weight);
    const isDrawn = (at, value) => !this.isLog || value[at] > 0;
    to.strokeStyle = to.fillStyle = line.color;
    to.lineJoin = "round";
    const path = (values) => {
      to.beginPath();
      let open = false;
      for (let at = 0; at < line.x.length; at += 1) {
        if (!isDrawn(at, values)) {
          open = false;
          continue;
        }
        const [x, y] = [this.px(line.x[at]), this.py(values[at])];
        if (open) to.lineTo(x, y);
        else to.moveTo(x, y);
        open = true;
      }
    };
    const isSpread = line.min.some((value, at) => value !== line.max[at]);
    if (isSpread) {
      // The whole of each bucket, as a plot of all points would be.
      to.globalAlpha = 0.22;
      to.beginPath();
      for (let at = 0; at < line.x.length; at += 1) if (isDrawn(at, line.max)) to.lineTo(this.px(line.x[at]), this.py(line.max[at]));
      for (let at = line.x.length - 1; at >= 0; at -= 1) if (isDrawn(at, line.max)) to.lineTo(this.px(line.x[at]), isDrawn(at, line.min) ? this.py(line.min[at]) : HEIGHT);
      to.fill();
    } else if (mean !== line.mean) {
      to.globalAlpha = 0.28;
      to.lineWidth = 1;
      path(line.mean);
      to.stroke();
    }
    to.globalAlpha = 1;
    to.lineWidth = 1.5;
    to.setLineDash(line.isEval ? [5, 3] : line.dash);
    path(mean);
    to.stroke();
    to.setLineDash([]);
    if (line.x.length === 1 || (line.isEval && line.x.length <= 60)) {
      for (let at = 0; at < line.x.length; at += 1) {
        if (!isDrawn(at, mean)) continue;
        to.beginPath();
        to.arc(this.px(line.x[at]), this.py(mean[at]), 2.5, 0, 7);
        to.fill();
      }
    }
    line.smooth = mean;
  }

  /** The point of each line that is nearest to x. */
  near(x) {
    const found = [];
    for (const line of this.lines) {
      if (!line.x.length) continue;
      let at = Math.min(indexOf(line.x, x), line.x.length - 1);
      if (at > 0 && x - line.x[at - 1] < line.x[at] - x) at -= 1;
      found.push({ line, at, x: line.x[at], y: (line.smooth || line.mean)[at] });
    }
    return found;
  }

  /** Marks the points at x on the upper canvas, and returns them. */
  point(x) {
    const to = this.size(this.over);
    if (x === null || !this.lines.length) {
      show(this.tip, false);
      this.caption(null);
      return [];
    }
    const near = this.near(x).filter((it) => Math.abs(this.px(it.x) - this.px(x)) < 60);
    const nearest = near.reduce((best, it) => (best && Math.abs(best.x - x) <= Math.abs(it.x - x) ? best : it), null);
    const at = Math.round(this.px(nearest ? nearest.x : x)) + 0.5;
    to.strokeStyle = css("--strong");
    to.lineWidth = 1;
    to.beginPath();
    to.moveTo(at, TOP);
    to.lineTo(at, HEIGHT - FOOT);
    to.stroke();
    for (const it of near) {
      if (this.isLog && !(it.y > 0)) continue;
      to.fillStyle = it.line.color;
      to.strokeStyle = css("--paper");
      to.lineWidth = 1.5;
      to.beginPath();
      to.arc(this.px(it.x), this.py(it.y), 3.5, 0, 7);
      to.fill();
      to.stroke();
    }
    this.caption(near);
    return near;
  }

  xText(x) {
    return this.axis === "time" ? duration(x) : `step ${count(x)}`;
  }

  /** The value in the title: at the pointer, else the last one. */
  caption(near) {
    const shown = near || (this.lines.length ? this.near(Infinity) : []);
    const own = shown.filter((it) => !it.line.isEval);
    const first = own[0] || shown[0];
    const runs = new Set(this.lines.map((line) => line.id)).size;
    if (!first || runs > 1) {
      say(this.value, "");
      return;
    }
    const evaluated = shown.find((it) => it.line.isEval && it !== first);
    const text = valueText(this.unit, first.y) + (evaluated ? `, eval ${valueText(this.unit, evaluated.y)}` : "");
    say(this.value, near ? `${this.xText(first.x)}: ${text}` : text);
  }

  /** The box beside the pointer. */
  showTip(near, x) {
    if (!near.length) {
      show(this.tip, false);
      return;
    }
    const isAlone = new Set(near.map((it) => it.line.id)).size === 1;
    const rows = near.map(({ line, at, y }) => {
      const spread = isAlone && line.max[at] > line.min[at] ? ` (${valueText(this.unit, line.min[at])} to ${valueText(this.unit, line.max[at])})` : "";
      return el("div", {}, sample(line), el("span", { class: "who" }, own(line.id), line.isEval ? ", eval" : null), el("span", { class: "what" }, valueText(this.unit, y) + spread));
    });
    const first = near.find((it) => !it.line.isEval) || near[0];
    this.tip.replaceChildren(el("p", {}, this.xText(first.x)), ...rows);
    show(this.tip, true);
    const [left, width] = [this.px(x), this.tip.offsetWidth];
    const room = $("plots").clientWidth - this.node.offsetLeft + $("plots").offsetLeft;
    this.tip.style.left = `${left + 14 + width < room ? left + 14 : Math.max(0, left - width - 14)}px`;
    this.tip.style.top = "32px";
  }

  describe() {
    const ends = this.lines.map((line) => `${line.id}${line.isEval ? ", eval" : ""}: ${valueText(this.unit, line.mean[line.mean.length - 1])} at ${this.xText(line.x[line.x.length - 1])}`);
    this.canvas.setAttribute("aria-label", `${titleOf(this.name)}. ${ends.join("; ")}. Arrow keys read values.`);
  }

  listen() {
    let from = null;
    const where = (event) => Math.min(Math.max(event.offsetX, GUTTER), this.width - RIGHT);
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && this.xs) {
        from = where(event);
        this.canvas.setPointerCapture(event.pointerId);
      }
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.xs) return;
      const at = where(event);
      this.onHover(this, this.xAt(at));
      if (from !== null && Math.abs(at - from) > 4) {
        const to = this.over.getContext("2d");
        to.fillStyle = css("--accent");
        to.globalAlpha = 0.14;
        to.fillRect(Math.min(from, at), TOP, Math.abs(at - from), HEIGHT - FOOT - TOP);
        to.globalAlpha = 1;
      }
    });
    this.canvas.addEventListener("pointerup", (event) => {
      const at = where(event);
      if (from !== null && Math.abs(at - from) > 4) this.onZoom([this.xAt(Math.min(from, at)), this.xAt(Math.max(from, at))]);
      from = null;
    });
    this.canvas.addEventListener("pointercancel", () => { from = null; });
    this.canvas.addEventListener("pointerleave", () => this.onHover(null, null));
    this.canvas.addEventListener("blur", () => this.onHover(null, null));
    this.canvas.addEventListener("dblclick", () => this.onZoom(null));
    this.canvas.addEventListener("keydown", (event) => plotKey(this, event));
  }
}

/** A short piece of a line, for a legend. */
const sample = (line) => {
  const path = svg("path", { d: "M0 4H18", fill: "none", stroke: line.color, "stroke-width": 2, "stroke-dasharray": (line.isEval ? [5, 3] : line.dash).join(" ") });
  return svg("svg", { viewBox: "0 0 18 8", "aria-hidden": "true" }, path);
};
