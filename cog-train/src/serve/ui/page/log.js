// The log of the current run: its last lines first, followed at its end, searched in what is loaded.

const MOST_LINES = 50000;
const log = { id: null, cursor: null, start: 0, lines: [], marks: [], at: -1 };

const resetLog = () => {
  Object.assign(log, { id: state.current, cursor: null, start: 0, lines: [], marks: [], at: -1 });
  $("lines").replaceChildren();
  press($("follow"), true);
};

const linesOf = (text) => text.replace(/\n$/, "").split("\n");

const followLog = oneAtATime(async () => {
  if (log.id !== state.current) resetLog();
  const id = state.current;
  if (!id) return;
  for (;;) {
    const answer = await get(runPath(id, "/log"), { after: log.cursor });
    if (id !== state.current) return;
    if (answer.restarted) resetLog();
    if (!log.cursor) log.start = answer.start;
    log.cursor = answer.cursor;
    if (answer.text) addLines(linesOf(answer.text));
    // A piece may not be all: the next answer says.
    if (!answer.text) break;
  }
  explainLog();
});

const explainLog = () => {
  show($("earlier"), log.start > 0);
  const isEmpty = log.lines.length === 0;
  show($("no-log"), isEmpty);
  show($("lines"), !isEmpty);
  say($("no-log"), isRunning(state.current) ? "No lines yet." : "This run has left no log.");
};

const kindOf = (line) => {
  if (/^warning\b/i.test(line)) return " warning";
  return /^(error|panicked)\b/i.test(line) ? " trouble" : "";
};

/** A line, with what is searched for in marks. */
const rowOf = (line, number) => {
  const text = el("span", { dir: "auto" });
  const row = el("div", { class: `row${kindOf(line)}`, "data-n": number || "" }, text);
  const wanted = $("search").value.toLowerCase();
  const small = line.toLowerCase();
  // Some letters are longer in small: there the positions would not fit.
  if (!wanted || small.length !== line.length) {
    text.append(line || "\u200b");
    return row;
  }
  let from = 0;
  for (let at = small.indexOf(wanted); at >= 0; at = small.indexOf(wanted, from)) {
    const mark = el("mark", {}, line.slice(at, at + wanted.length));
    text.append(line.slice(from, at), mark);
    log.marks.push(mark);
    from = at + wanted.length;
  }
  text.append(line.slice(from));
  if (from === 0 && isPressed($("only"))) row.hidden = true;
  return row;
};

const numbered = (at) => (log.start === 0 ? at + 1 : 0);

const addLines = (added) => {
  const from = log.lines.length;
  log.lines.push(...added);
  const rows = document.createDocumentFragment();
  added.forEach((line, at) => rows.append(rowOf(line, numbered(from + at))));
  $("lines").append(rows);
  if (log.lines.length > MOST_LINES) {
    log.lines.splice(0, log.lines.length - MOST_LINES);
    log.start = Math.max(1, log.start);
    drawLog();
  }
  show($("lines"), true);
  toEnd();
  sayFound();
};

const toEnd = () => {
  if (isPressed($("follow"))) $("lines").scrollTop = $("lines").scrollHeight;
};

/** Draws all lines again, for another search. */
const drawLog = () => {
  log.marks = [];
  log.at = -1;
  const rows = document.createDocumentFragment();
  log.lines.forEach((line, at) => rows.append(rowOf(line, numbered(at))));
  $("lines").replaceChildren(rows);
  sayFound();
};

const sayFound = () => {
  const all = log.marks.length;
  const text = all ? (log.at < 0 ? plural(all, "match", "matches") : `${count(log.at + 1)} of ${count(all)}`) : "no match";
  say($("found"), $("search").value ? text : "");
  for (const id of ["previous", "next"]) $(id).disabled = all === 0;
};

/** Goes to the match before or after. */
const toMatch = (by) => {
  const all = log.marks.length;
  if (!all) return;
  log.marks[log.at]?.classList.remove("now");
  log.at = log.at < 0 ? (by > 0 ? 0 : all - 1) : (log.at + by + all) % all;
  const mark = log.marks[log.at];
  mark.classList.add("now");
  press($("follow"), false);
  mark.scrollIntoView({ block: "center" });
  sayFound();
};

$("search").addEventListener("input", afterQuiet(120, () => {
  drawLog();
  if ($("search").value) toMatch(-1);
  else toEnd();
}));
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    toMatch(event.shiftKey ? -1 : 1);
  }
});
$("next").addEventListener("click", () => toMatch(1));
$("previous").addEventListener("click", () => toMatch(-1));
$("only").addEventListener("click", () => {
  press($("only"), !isPressed($("only")));
  drawLog();
});
$("follow").addEventListener("click", () => {
  press($("follow"), !isPressed($("follow")));
  toEnd();
});
$("lines").addEventListener("wheel", (event) => {
  if (event.deltaY < 0) press($("follow"), false);
}, { passive: true });
$("earlier").addEventListener("click", async () => {
  try {
    const answer = await get(runPath(state.current, "/log"), { until: log.start });
    if (log.id !== state.current || !answer.text) return;
    const height = $("lines").scrollHeight;
    log.start = answer.start;
    log.lines.unshift(...linesOf(answer.text));
    press($("follow"), false);
    drawLog();
    $("lines").scrollTop += $("lines").scrollHeight - height;
    explainLog();
  } catch (error) {
    disconnected(error);
  }
});
