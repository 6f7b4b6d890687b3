// What the reader has chosen. The run is in the address, the view in this browser.

const COLORS = 8;
const TABS = ["charts", "log", "inputs", "samples"];
const VIEW = "cog-train-view";

const state = {
  runs: [],
  now: 0,
  server: false,
  loaded: false,
  /** The run whose details are shown. */
  current: null,
  /** Runs that are drawn beside it. */
  compared: new Set(),
  /** Colours by run, while it is drawn. */
  colors: new Map(),
  tab: "charts",
  smooth: 0,
  logScale: false,
  axis: "step",
  /** The visible part of the horizontal axis: `[from, to]`, or null for all of it. */
  range: null,
  filter: "",
};

const keepView = () => {
  const { tab, smooth, logScale, axis } = state;
  try {
    localStorage.setItem(VIEW, JSON.stringify({ tab, smooth, logScale, axis }));
  } catch { /* A browser that keeps nothing is one too. */ }
};

const restoreView = () => {
  try {
    const kept = JSON.parse(localStorage.getItem(VIEW)) || {};
    if (TABS.includes(kept.tab)) state.tab = kept.tab;
    if (kept.smooth >= 0 && kept.smooth <= 0.99) state.smooth = Number(kept.smooth);
    if (kept.axis === "time") state.axis = "time";
    state.logScale = kept.logScale === true;
  } catch { /* The defaults stand. */ }
};

/** The runs on the plots, the current one first. */
const drawn = () => {
  const ids = state.current ? [state.current] : [];
  for (const id of state.compared) if (id !== state.current) ids.push(id);
  return ids.slice(0, COLORS);
};

/** Gives each drawn run a colour and keeps those that have one. */
const giveColors = () => {
  const ids = drawn();
  for (const id of state.colors.keys()) if (!ids.includes(id)) state.colors.delete(id);
  for (const id of ids) {
    if (state.colors.has(id)) continue;
    const used = new Set(state.colors.values());
    let free = 0;
    while (used.has(free)) free += 1;
    state.colors.set(id, free);
  }
};

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colorOf = (id) => css(`--c${state.colors.get(id) ?? 7}`);
// Beyond three runs a pattern helps where colours do not.
const DASHES = [[], [], [], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2]];
const dashOf = (id) => DASHES[state.colors.get(id) ?? 0];

const runOf = (id) => state.runs.find((run) => run.id === id);
const isRunning = (id) => runOf(id)?.status === "running";

const addressOf = (id) => `#/${encodeURIComponent(id)}`;
const idInAddress = () => {
  try {
    return location.hash.startsWith("#/") ? decodeURIComponent(location.hash.slice(2)) : null;
  } catch {
    return null;
  }
};
