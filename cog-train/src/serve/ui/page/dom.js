// The document. Text of a run is only ever the text of a node: nothing of it becomes markup.

const $ = (id) => document.getElementById(id);

const el = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

const svg = (tag, props = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

/** Sets a text, if it is another one: a reader of the screen is not disturbed by what stays. */
const say = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const show = (node, visible) => {
  if (node.hidden === visible) node.hidden = !visible;
};

/** A text of a run, whose direction is its own. */
const own = (text) => el("bdi", {}, text);
/** A sentence of the program, whose direction is not that of what it quotes. */
const quoting = (text) => text.split(/(`[^`\n]*`)/).map((part, at) => (at % 2 ? own(part) : part));
/** The same within a sentence that is text alone. */
const isolated = (text) => `\u2068${text}\u2069`;

const press = (button, on) => button.setAttribute("aria-pressed", String(on));
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

/** Calls `work` once things have been quiet for a moment. */
const afterQuiet = (milliseconds, work) => {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), milliseconds);
  };
};

/** Runs `work` once at a time; a call in between makes it run once more, for what has changed since. */
const oneAtATime = (work) => {
  let running = null;
  let again = false;
  const run = async () => {
    do {
      again = false;
      await work();
    } while (again);
  };
  return () => {
    again = running !== null;
    running ??= run().finally(() => { running = null; });
    return running;
  };
};

// Each status has a shape of its own: colour alone says nothing.
const SHAPES = {
  running: () => [svg("circle", { cx: 5, cy: 5, r: 4, class: "full" })],
  succeeded: () => [svg("path", { d: "M1 5.5 4 8.5 9.5 1.5" })],
  failed: () => [svg("path", { d: "M1.5 1.5 8.5 8.5M8.5 1.5 1.5 8.5" })],
  canceled: () => [svg("path", { d: "M1.5 1.5h7v7h-7z" })],
  interrupted: () => [svg("path", { d: "M5 .5V6M5 9.2v.3" })],
  damaged: () => [svg("path", { d: "M5 .5 9.7 9H.3Z" })],
};

const statusMark = (status) => {
  const shape = SHAPES[status] || (() => [svg("circle", { cx: 5, cy: 5, r: 3.5 })]);
  const known = SHAPES[status] ? status : "unknown";
  return el("span", { class: `status ${known}` },
    svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, ...shape()), String(status));
};
