// The run that is chosen: its head, its commands and its tabs.

const choose = (id) => {
  if (state.current !== id) {
    state.current = id;
    if (id !== null && idInAddress() !== id) history.replaceState(null, "", addressOf(id));
    say($("said"), "");
    unsure();
  }
  giveColors();
  drawRuns();
  drawnChanged();
};

/** Draws what depends on which runs are drawn. */
const drawnChanged = () => {
  drawHead();
  drawCharts();
  follow().catch(disconnected);
};

const leftOf = (id) => {
  const left = curves.get(id)?.series.get("time/eta_seconds");
  return left?.mean.length ? left.mean[left.mean.length - 1] : null;
};

const drawHead = () => {
  const run = runOf(state.current);
  const isChosen = Boolean(run);
  for (const id of ["head", "tabs"]) show($(id), isChosen);
  for (const tab of TABS) show($(tab), isChosen && tab === state.tab);
  show($("no-run"), !isChosen && state.loaded);
  say($("no-run"), state.current && !run ? `There is no run \u201c${isolated(state.current)}\u201d here.` : state.runs.length ? "Choose a run." : "");
  document.title = run ? `${isolated(run.id)}, ${run.status}` : "Runs";
  if (!run) {
    show($("error"), false);
    return;
  }
  say($("name"), run.id);
  if ($("status").dataset.status !== run.status) {
    $("status").dataset.status = run.status;
    $("status").replaceChildren(statusMark(run.status));
  }
  const left = run.status === "running" ? leftOf(run.id) : null;
  const facts = [run.trainer, run.step !== null && run.step !== undefined ? `step ${count(run.step)}` : "", run.started_at ? duration(durationOf(run)) : "", left ? `${duration(left)} left` : ""];
  say($("facts"), facts.filter(Boolean).join("  \u00b7  "));
  show($("checkpoint"), run.live);
  show($("cancel"), run.live);
  const whole = records.get(run.id);
  // Of a canceled run the error says what the status does.
  const recorded = run.status === "canceled" ? "" : whole?.record?.error;
  const error = run.problem || recorded || (run.status === "interrupted" ? "The process ended without recording an end: it was killed, or the machine stopped.\nhint: --resume continues the run from its last checkpoint" : "") || "";
  if ($("error").textContent !== error) $("error").replaceChildren(...quoting(error));
  show($("error"), Boolean(error));
  for (const tab of TABS) {
    const button = $(`tab-${tab}`);
    button.setAttribute("aria-selected", String(tab === state.tab));
    button.tabIndex = tab === state.tab ? 0 : -1;
  }
};

const openTab = (tab) => {
  state.tab = tab;
  keepView();
  drawHead();
  drawCharts();
  follow().catch(disconnected);
};

/** Reads what the visible tab shows. */
const follow = async () => {
  const run = runOf(state.current);
  if (!run) return;
  const known = records.get(run.id);
  if (!known || known.status !== run.status) {
    records.set(run.id, await get(runPath(run.id)));
    drawHead();
  }
  if (state.tab === "charts") await followCharts();
  if (state.tab === "log") await followLog();
  if (state.tab === "inputs") await drawInputsOnce();
  if (state.tab === "samples") await followSamples();
};

/** The inputs change with the drawn runs and their ends alone: a selection of text in them stays. */
let inputsDrawn = "";
const drawInputsOnce = async () => {
  const key = JSON.stringify(drawn().map((id) => [id, runOf(id)?.status, state.colors.get(id)]));
  if (key === inputsDrawn) return;
  for (const id of drawn()) if (records.get(id)?.status !== runOf(id)?.status) records.delete(id);
  await drawInputs();
  inputsDrawn = key;
};

let certainty = 0;
const unsure = () => {
  clearTimeout(certainty);
  $("cancel").classList.remove("sure");
  say($("cancel"), "Cancel");
};

const ordered = async (verb, text) => {
  const id = state.current;
  try {
    await command(id, verb);
    say($("said"), text);
  } catch (error) {
    say($("said"), `Not done: ${error.message}.`);
  }
};

$("checkpoint").addEventListener("click", () => ordered("checkpoint", "A checkpoint is saved after the current step."));
$("cancel").addEventListener("click", () => {
  if (!$("cancel").classList.contains("sure")) {
    $("cancel").classList.add("sure");
    say($("cancel"), "Cancel this run?");
    certainty = setTimeout(unsure, 5000);
    return;
  }
  unsure();
  ordered("cancel", "The run stops after its current step and saves a checkpoint; PUT of its id resumes it.");
});
$("cancel").addEventListener("blur", unsure);

for (const [at, tab] of TABS.entries()) {
  const button = $(`tab-${tab}`);
  button.addEventListener("click", () => openTab(tab));
  button.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = TABS[(at + by + TABS.length) % TABS.length];
    openTab(next);
    $(`tab-${next}`).focus();
  });
}
