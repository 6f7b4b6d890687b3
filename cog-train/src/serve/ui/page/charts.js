// The plots of the drawn runs: which there are, what they share, and how they follow the runs.

const curves = new Map();
const plots = new Map();

const curvesOf = (id) => {
  if (!curves.has(id)) curves.set(id, new Curves(id));
  return curves.get(id);
};

// The most telling metrics first; others by their names.
const ORDER = ["loss", "accuracy", "learning_rate", "grad_norm", "time/tokens_per_second", "time/rows_per_second", "time/memory_bytes", "time/device_memory_bytes", "time/data_wait", "time/eta_seconds"];
const rank = (name) => {
  const at = ORDER.indexOf(name);
  if (at >= 0) return at < 2 ? at : at + 2;
  return name.startsWith("time/") ? 99 : 2;
};

/** The metric on whose plot a metric is: that of the training for an evaluation's. */
const plotOf = (name, names) => {
  const own = name.replace(/^eval_/, "");
  return own !== name && (own === "loss" || names.has(own)) ? own : name;
};

const plotWidth = () => {
  const one = plots.values().next().value;
  return Math.max(200, Math.round((one ? one.width : 420) - GUTTER));
};

/** Reads what is new of the drawn runs, and draws it. */
const followCharts = oneAtATime(async () => {
  for (const id of drawn()) {
    const of = curvesOf(id);
    const status = runOf(id)?.status;
    if (status === undefined || status === "damaged") continue;
    try {
      if (!of.loaded || isRunning(id) || of.settled !== status) {
        await of.follow(plotWidth());
        if (state.axis === "time" || of.timesCursor) await of.followTimes(plotWidth());
        of.settled = status;
      }
      if (state.axis === "time" && !of.timesCursor) await of.followTimes(plotWidth());
      const steps = stepsIn(of, state.range);
      await of.zoom(steps[0], steps[1], plotWidth());
      of.problem = null;
    } catch (error) {
      if (error instanceof Unauthorized || error instanceof TypeError) throw error;
      of.problem = error.message;
    }
  }
  drawCharts();
});

/** The steps of a visible part. */
const stepsIn = (of, range) => {
  if (!range) return [null, null];
  return state.axis === "time" ? range.map((time) => of.times.stepAt(time)) : range;
};

const xOf = (of, steps) => (state.axis === "time" ? steps.map((step) => of.times.at(step)) : steps);

const drawCharts = () => {
  if (state.tab !== "charts" || $("run").hidden) return;
  const ids = drawn();
  const names = new Set(ids.flatMap((id) => [...curvesOf(id).series.keys()]));
  const groups = new Map();
  for (const name of names) {
    const plot = plotOf(name, names);
    if (!groups.has(plot)) groups.set(plot, []);
    groups.get(plot).push(name);
  }
  const ordered = [...groups.keys()].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b, EN));
  for (const [name, plot] of plots) {
    if (groups.has(name)) continue;
    plot.node.remove();
    plots.delete(name);
  }
  for (const name of ordered) if (!plots.has(name)) plots.set(name, new Plot(name, hover, zoomTo));
  const nodes = ordered.map((name) => plots.get(name).node);
  if (nodes.some((node, at) => $("plots").children[at] !== node)) $("plots").replaceChildren(...nodes);
  const xs = visibleRange(ids);
  for (const name of ordered) {
    const lines = [];
    for (const id of ids) {
      const of = curvesOf(id);
      for (const metric of groups.get(name).sort()) {
        const points = of.of(metric);
        if (!points || !points.x.length) continue;
        const x = xOf(of, points.x);
        if (x.some(Number.isNaN)) continue;
        lines.push({ id, color: colorOf(id), dash: dashOf(id), isEval: metric !== name, isExact: /^eval_|^learning_rate$|eta_seconds$/.test(metric), ...points, x });
      }
    }
    plots.get(name).draw(lines, xs, state.axis, state.logScale && unitOf(name) === "number");
  }
  if (hovered) hover(hovered.plot, hovered.x);
  explainCharts(ids, ordered.length);
  drawLegend(ids);
};

const visibleRange = (ids) => {
  if (state.range) return state.range;
  let [from, to] = [Infinity, -Infinity];
  for (const id of ids) {
    const of = curvesOf(id);
    if (!(of.first <= of.last)) continue;
    const [first, last] = xOf(of, [of.first, of.last]);
    if (first < from) from = first;
    if (last > to) to = last;
  }
  return from <= to ? [from, to] : [0, 1];
};

const explainCharts = (ids, plotted) => {
  const of = state.current && curvesOf(state.current);
  let text = "";
  const problem = ids.map((id) => curvesOf(id).problem).find(Boolean);
  const timeless = state.axis === "time" ? ids.filter((id) => curvesOf(id).loaded && curvesOf(id).series.size && !curvesOf(id).times.time.length) : [];
  if (problem) text = `The curves cannot be read: ${problem}.`;
  else if (timeless.length) text = `${timeless.map(isolated).join(", ")} has no record of the time of its steps: choose the axis \u201cStep\u201d.`;
  else if (of?.loaded && !plotted) text = isRunning(state.current) ? "No metrics yet. Curves begin with the first step." : "This run has left no metrics.";
  say($("no-metrics"), text);
  show($("no-metrics"), text !== "");
  show($("plots"), plotted > 0);
  show($("charts").firstElementChild, plotted > 0);
  show($("whole"), state.range !== null);
};

const drawLegend = (ids) => {
  const items = ids.length > 1 ? ids.map((id) => el("li", { title: id }, sample({ color: colorOf(id), dash: dashOf(id) }), own(id))) : [];
  const hasEval = [...plots.values()].some((plot) => plot.lines.some((line) => line.isEval));
  if (hasEval) items.push(el("li", {}, sample({ color: css("--soft"), dash: [], isEval: true }), "eval"));
  const key = items.map((item) => item.textContent).join("\n") + ids.map(colorOf).join();
  if ($("legend").dataset.key === key) return;
  $("legend").dataset.key = key;
  $("legend").replaceChildren(...items);
};

/** Shows the values at x on all plots. */
let hovered = null;
const hover = (plot, x) => {
  hovered = x === null ? null : { plot, x };
  for (const other of plots.values()) {
    const near = other.point(x);
    if (other === plot) other.showTip(near, x);
    else show(other.tip, false);
  }
};

const zoomTo = (range) => {
  if (range && !(range[1] - range[0] > (state.axis === "time" ? 0.01 : 0.5))) return;
  state.range = range;
  hover(null, null);
  drawCharts();
  followCharts().catch(disconnected);
};

/** Keys on a plot: arrows read, plus and minus zoom. */
const plotKey = (plot, event) => {
  const points = plot.lines[0]?.x || [];
  const [from, to] = plot.xs || [0, 1];
  const inside = points.filter((x) => x >= from && x <= to);
  if (!inside.length) return;
  const at = plot.keyAt === undefined ? inside.length - 1 : Math.min(indexOf(inside, plot.keyAt), inside.length - 1);
  const stride = event.shiftKey ? 20 : 1;
  const move = (index) => {
    plot.keyAt = inside[Math.min(inside.length - 1, Math.max(0, index))];
    hover(plot, plot.keyAt);
    const read = plot.point(plot.keyAt).map((it) => `${it.line.id}${it.line.isEval ? ", eval" : ""} ${valueText(plot.unit, it.y)}`);
    say($("at"), `${plot.xText(plot.keyAt)}: ${read.join("; ")}`);
  };
  const zoom = (factor) => {
    const middle = plot.keyAt ?? (from + to) / 2;
    const whole = (() => { const range = state.range; state.range = null; const all = visibleRange(drawn()); state.range = range; return all; })();
    const next = [Math.max(whole[0], middle - (middle - from) * factor), Math.min(whole[1], middle + (to - middle) * factor)];
    zoomTo(next[0] <= whole[0] && next[1] >= whole[1] ? null : next);
  };
  const keys = {
    ArrowLeft: () => move(at - stride), ArrowRight: () => move(at + stride), Home: () => move(0), End: () => move(inside.length - 1),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Escape: () => (state.range ? zoomTo(null) : hover(null, null)),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  keys[event.key]();
};

const drawTools = () => {
  $("smooth").value = state.smooth;
  say($("smooth-text"), state.smooth.toFixed(2));
  press($("log-scale"), state.logScale);
  press($("by-step"), state.axis === "step");
  press($("by-time"), state.axis === "time");
};

const changeView = (change) => {
  Object.assign(state, change);
  if ("axis" in change) state.range = null;
  keepView();
  drawTools();
  drawCharts();
  if ("axis" in change) followCharts().catch(disconnected);
};

$("smooth").addEventListener("input", () => changeView({ smooth: Number($("smooth").value) }));
$("log-scale").addEventListener("click", () => changeView({ logScale: !state.logScale }));
$("by-step").addEventListener("click", () => changeView({ axis: "step" }));
$("by-time").addEventListener("click", () => changeView({ axis: "time" }));
$("whole").addEventListener("click", () => zoomTo(null));
new ResizeObserver(afterQuiet(60, () => { if (plots.size) drawCharts(); })).observe($("plots"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawRuns();
  drawCharts();
});
