// The start, the clock and the keys.

const FAST = 1000;
const SLOW = 4000;
let timer = 0;
let polling = false;

const disconnected = (error) => {
  if (error instanceof Unauthorized) return;
  say($("link"), error instanceof TypeError ? "The server does not answer; trying again." : `${error.message}.`);
};

/** Reads the runs, and what is shown of them. */
const poll = async () => {
  if (polling) return;
  clearTimeout(timer);
  polling = true;
  try {
    const list = await get("/ui/runs");
    Object.assign(state, { runs: list.runs, now: list.now, server: list.server, loaded: true });
    say($("folder"), list.folder);
    for (const id of [...state.compared]) if (!runOf(id)) state.compared.delete(id);
    const wanted = idInAddress();
    if (state.current === null && (wanted || state.runs.length)) state.current = wanted || state.runs[0].id;
    giveColors();
    drawRuns();
    drawHead();
    await follow();
    say($("link"), "");
  } catch (error) {
    disconnected(error);
  } finally {
    polling = false;
    const waits = state.runs.some((run) => run.status === "running") ? FAST : SLOW;
    timer = setTimeout(poll, document.hidden ? 4 * SLOW : waits);
  }
};

const isTyping = (target) => target.matches("input:not([type=range]), select, textarea");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.key === "Escape" && isTyping(event.target)) {
    event.target.value = "";
    event.target.dispatchEvent(new Event("input"));
    event.target.blur();
    if (event.target === $("search")) $("lines").focus();
    else focusRun();
    return;
  }
  if (isTyping(event.target)) return;
  const isInList = $("runs").contains(event.target) || event.target === document.body;
  const keys = {
    "/": () => (state.tab === "log" && runOf(state.current) && !$("runs").contains(document.activeElement) ? $("search") : $("filter")).focus(),
    "?": () => $("help").showModal(),
    l: () => changeView({ logScale: !state.logScale }),
    t: () => changeView({ axis: state.axis === "step" ? "time" : "step" }),
    Escape: () => (state.range ? zoomTo(null) : focusRun()),
  };
  TABS.forEach((tab, at) => { keys[at + 1] = () => openTab(tab); });
  if (isInList) {
    keys.ArrowDown = () => moveRun(1);
    keys.ArrowUp = () => moveRun(-1);
    keys.Home = () => moveRun(-Infinity);
    keys.End = () => moveRun(Infinity);
  }
  if (event.target.closest?.("#runs tbody tr")) {
    keys[" "] = () => compare(event.target.closest("tr").dataset.id);
    keys.Enter = () => $(`tab-${state.tab}`).focus();
  }
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

const focusRun = () => rows.get(state.current)?.row.focus();

$("filter").addEventListener("input", () => {
  state.filter = $("filter").value.trim();
  drawRuns();
});
$("filter").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    event.stopPropagation();
    const first = $("runs").tBodies[0].rows[0];
    if (first) {
      choose(first.dataset.id);
      first.focus();
    }
  }
});
$("clear").addEventListener("click", () => {
  state.compared.clear();
  giveColors();
  drawRuns();
  drawnChanged();
});
$("keys").addEventListener("click", () => $("help").showModal());
window.addEventListener("hashchange", () => {
  const id = idInAddress();
  if (id && id !== state.current) choose(id);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

restoreView();
drawTools();
poll();
