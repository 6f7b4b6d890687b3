// The inputs of the drawn runs side by side, with their origin.

const records = new Map();

const valueOf = (cell) => el("span", { class: cell?.isText ? "value text" : "value" }, cell ? cell.text : "\u2013");

const partsOf = (record) => {
  const inputs = Object.entries(record.inputs || {}).map(([name, input]) => {
    const files = (input.files || []).map((file) => [`${file.path ?? ""}`, file.bytes === undefined ? "" : bytes(file.bytes), file.sha256 ? `sha256 ${file.sha256.slice(0, 12)}` : ""].filter(Boolean).join(", "));
    return [name, { text: input.origin === "absent" ? "\u2013" : inputText(input.value), isText: typeof input.value === "string", origin: [input.origin, ...files].join("\n") }];
  });
  const seed = record.seed ? [["seed", { text: inputText(record.seed.value), origin: record.seed.origin }]] : [];
  const plain = (entries) => entries.filter(([, value]) => value !== undefined && value !== null).map(([name, value]) => [name, { text: inputText(value), isText: typeof value === "string", origin: "" }]);
  return {
    Inputs: new Map(inputs),
    Run: new Map([...seed, ...plain([["trainer", record.trainer], ["device", record.device], ...Object.entries(record.versions || {}).map(([name, version]) => [`${name} version`, version])])]),
    Result: new Map(plain(Object.entries(record.metrics || {}).concat([["output", record.output]]))),
  };
};

const drawInputs = async () => {
  const ids = drawn();
  const known = [];
  for (const id of ids) {
    if (!records.has(id)) records.set(id, await get(runPath(id)));
    const whole = records.get(id);
    if (whole.record) known.push([id, partsOf(whole.record)]);
  }
  if (ids.join("\n") !== drawn().join("\n")) return;
  const isPair = known.length > 1;
  show($("differing"), isPair);
  const only = isPair && isPressed($("differing"));
  $("values").tHead.replaceChildren(el("tr", {}, el("th", { scope: "col" }, "Name"),
    ...known.map(([id]) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.background = swatch.style.borderColor = colorOf(id);
      return el("th", { scope: "col" }, isPair ? swatch : null, isPair ? own(id) : "Value");
    })));
  let differing = 0;
  const body = [];
  for (const part of ["Inputs", "Run", "Result"]) {
    const names = [...new Set(known.flatMap(([, parts]) => [...parts[part].keys()]))];
    const lines = names.map((name) => {
      const cells = known.map(([, parts]) => parts[part].get(name));
      return { name, cells, differs: isPair && new Set(cells.map((cell) => cell?.text)).size > 1 };
    });
    lines.sort((a, b) => b.differs - a.differs);
    const shown = lines.filter((line) => line.differs || !only);
    if (part === "Inputs") differing = lines.filter((line) => line.differs).length;
    if (!shown.length) continue;
    body.push(el("tr", { class: "part" }, el("th", { scope: "rowgroup", colspan: known.length + 1 }, part)));
    for (const { name, cells, differs } of shown) {
      body.push(el("tr", { class: differs ? "differs" : null }, el("th", { scope: "row" }, name),
        ...cells.map((cell) => el("td", {}, valueOf(cell), cell?.origin ? el("span", { class: "origin" }, cell.origin) : null))));
    }
  }
  $("values").tBodies[0].replaceChildren(...body);
  const text = isPair ? `${plural(differing, "input")} ${differing === 1 ? "differs" : "differ"} between ${known.length} runs` : "Space in the list of runs puts another run beside this one";
  say($("differ-count"), known.length ? text : "The record of this run cannot be read.");
};

$("differing").addEventListener("click", () => {
  press($("differing"), !isPressed($("differing")));
  drawInputs().catch(disconnected);
});
