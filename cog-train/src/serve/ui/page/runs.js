// The table of runs.

const rows = new Map();

const seconds = (iso) => new Date(iso).getTime() / 1000;

const durationOf = (run) => {
  const start = seconds(run.started_at);
  if (run.status === "running") return state.now - start;
  return (run.completed_at ? seconds(run.completed_at) : run.updated) - start;
};

const matches = (run) => {
  const wanted = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const inputs = Object.entries(run.inputs || {}).map(([name, value]) => `${name}=${value}`);
  const text = [run.id, run.status, run.trainer, ...inputs].join(" ").toLowerCase();
  return wanted.every((word) => text.includes(word));
};

/** Names of the inputs that differ between runs; of all where none does. */
const tellingInputs = () => {
  const values = new Map();
  for (const run of state.runs) {
    for (const [name, value] of Object.entries(run.inputs || {})) {
      if (!values.has(name)) values.set(name, new Map());
      const seen = values.get(name);
      seen.set(value, (seen.get(value) || 0) + 1);
    }
  }
  const known = state.runs.filter((run) => run.inputs).length;
  const differing = (name) => values.get(name).size > 1 || [...values.get(name).values()][0] < known;
  const names = [...values.keys()].filter(differing);
  return names.length ? names : [...values.keys()];
};

/** The names of the inputs that have a column. */
let columns = [];
/** Columns that did not fit beside the others. */
let excess = 0;

const chooseColumns = () => {
  const most = Math.max(1, Math.floor(($("list").clientWidth - (innerWidth > 1700 ? 540 : 480)) / 90));
  const names = tellingInputs().slice(0, Math.max(0, most - excess));
  if (names.join("\n") === columns.join("\n")) return;
  columns = names;
  const heads = columns.map((name) => el("th", { scope: "col", class: "number input", title: name }, name));
  for (const old of $("runs").querySelectorAll("th.input")) old.remove();
  $("runs").tHead.rows[0].append(...heads);
};

const newRow = (id) => {
  const cell = (name) => el("td", { class: name });
  const cells = {
    pick: cell("pick"), id: el("td", { class: "id", dir: "auto" }), status: cell("status-cell"), loss: cell("number loss"), step: cell("number step"),
    duration: cell("number"), when: cell("when"),
  };
  const swatch = el("button", { type: "button", class: "swatch", tabindex: -1, "aria-pressed": "false", "aria-label": `Compare ${id}` });
  swatch.addEventListener("click", (event) => {
    event.stopPropagation();
    compare(id);
  });
  cells.pick.append(swatch);
  const row = el("tr", { tabindex: -1, "aria-selected": "false" }, ...Object.values(cells));
  row.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) compare(id);
    else choose(id);
    row.focus({ preventScroll: true });
  });
  row.dataset.id = id;
  return { row, cells, swatch, status: null, inputs: null };
};

const fillRow = (entry, run) => {
  const { row, cells, swatch } = entry;
  say(cells.id, run.id);
  cells.id.title = run.id;
  if (entry.status !== run.status) {
    cells.status.replaceChildren(statusMark(run.status));
    entry.status = run.status;
  }
  say(cells.loss, run.status === "damaged" ? "" : short(run.loss));
  say(cells.step, run.status === "damaged" ? "" : count(run.step));
  say(cells.duration, duration(durationOf(run)));
  say(cells.when, moment(run.started_at));
  cells.when.title = run.started_at || "";
  const inputs = columns.map((name) => run.inputs?.[name] ?? "\u2013");
  const text = JSON.stringify(inputs);
  if (entry.inputs !== text) {
    entry.inputs = text;
    for (const old of row.querySelectorAll(".input")) old.remove();
    row.append(...inputs.map((value) => el("td", { class: "number input", dir: "auto", title: value }, value)));
  }
  const isCurrent = run.id === state.current;
  row.setAttribute("aria-selected", String(isCurrent));
  row.tabIndex = isCurrent ? 0 : -1;
  press(swatch, state.compared.has(run.id));
  swatch.style.background = swatch.style.borderColor = state.colors.has(run.id) ? colorOf(run.id) : "";
};

const drawRuns = () => {
  const body = $("runs").tBodies[0];
  const visible = state.runs.filter(matches);
  chooseColumns();
  for (const id of rows.keys()) if (!runOf(id)) rows.delete(id);
  const wanted = visible.map((run) => {
    if (!rows.has(run.id)) rows.set(run.id, newRow(run.id));
    const entry = rows.get(run.id);
    fillRow(entry, run);
    return entry.row;
  });
  const isSame = body.children.length === wanted.length && wanted.every((row, at) => body.children[at] === row);
  if (!isSame) {
    const focused = document.activeElement;
    body.replaceChildren(...wanted);
    if (body.contains(focused)) focused.focus({ preventScroll: true });
  }
  if (wanted.length && !wanted.some((row) => row.tabIndex === 0)) wanted[0].tabIndex = 0;
  show($("runs"), visible.length > 0);
  if (columns.length && $("runs").offsetWidth > $("list").clientWidth) {
    excess += 1;
    drawRuns();
    return;
  }
  show($("no-runs"), state.loaded && visible.length === 0);
  say($("no-runs"), state.runs.length ? `No run matches \u201c${isolated(state.filter)}\u201d.` : "No runs yet. A training appears here as soon as it starts:");
  show($("first-run"), state.loaded && state.runs.length === 0);
  say($("first-run"), state.server ? `curl -X PUT ${location.origin}/trainings/first \\\n  -H 'Content-Type: application/json' -d '{"input": {}}'` : "my-trainer -i name=value");
  $("main").classList.toggle("bare", state.loaded && state.runs.length === 0);
  show($("clear"), state.compared.size > 0);
  const running = state.runs.filter((run) => run.status === "running").length;
  say($("counts"), state.loaded ? `${plural(state.runs.length, "run")}${running ? `, ${running} running` : ""}` : "");
};

window.addEventListener("resize", () => { excess = 0; });

/** Moves to the run above or below. */
const moveRun = (by) => {
  const all = [...$("runs").tBodies[0].children];
  if (!all.length) return;
  const at = all.findIndex((row) => row.dataset.id === state.current);
  const to = at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by));
  choose(all[to].dataset.id);
  all[to].focus({ preventScroll: true });
  all[to].scrollIntoView({ block: "nearest" });
};

/** Draws a run beside the others, or no longer. */
const compare = (id) => {
  if (!state.current) {
    choose(id);
    return;
  }
  if (state.compared.has(id)) state.compared.delete(id);
  else if (state.compared.size < COLORS - 1 || id === state.current) state.compared.add(id);
  else say($("said"), `At most ${COLORS} runs are drawn together.`);
  giveColors();
  drawRuns();
  drawnChanged();
};
