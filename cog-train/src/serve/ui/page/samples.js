// The samples of the current run: texts and images by step, the last first.

const MOST_MOMENTS = 60;
const samples = { id: null, cursor: null, all: [], urls: new Map(), hasEarlier: false };

const resetSamples = () => {
  for (const url of samples.urls.values()) url.then(URL.revokeObjectURL, () => {});
  Object.assign(samples, { id: state.current, cursor: null, all: [], urls: new Map() });
  $("cards").replaceChildren();
};

const followSamples = oneAtATime(async () => {
  if (samples.id !== state.current) resetSamples();
  const id = state.current;
  if (!id) return;
  const isFirst = samples.cursor === null;
  const answer = await get(runPath(id, "/samples"), { after: samples.cursor });
  if (id !== state.current) return;
  if (answer.restarted) resetSamples();
  if (isFirst || answer.restarted) samples.hasEarlier = answer.start > 0;
  samples.cursor = answer.cursor;
  samples.all.push(...answer.samples);
  if (isFirst || answer.restarted || answer.samples.length) drawSamples();
});

const imageOf = (sample) => {
  // A small image is enlarged by whole pixels.
  const factor = Math.max(1, Math.floor(112 / Math.max(sample.width, sample.height, 1)));
  const node = el("img", { alt: `${sample.name} at step ${sample.step}`, width: sample.width * factor, height: sample.height * factor });
  if (!samples.urls.has(sample.image)) samples.urls.set(sample.image, picture(samples.id, sample.image));
  samples.urls.get(sample.image).then((url) => { node.src = url; }, (error) => node.replaceWith(el("p", { class: "problem" }, `The image cannot be read: ${error.message}`)));
  return node;
};

const histogramOf = (sample) => {
  const most = Math.max(1, ...sample.histogram);
  const bars = sample.histogram.map((it) => {
    const bar = el("i", {});
    bar.style.height = `${100 * it / most}%`;
    return bar;
  });
  return el("div", {}, el("div", { class: "bins", title: `${sample.histogram.reduce((a, b) => a + b, 0)} elements` }, ...bars), el("p", {}, `${sample.from} to ${sample.to}`));
};

const contentOf = (sample) => {
  if (Array.isArray(sample.histogram)) return histogramOf(sample);
  if (typeof sample.image === "string") return imageOf(sample);
  return el("pre", { dir: "auto" }, String(sample.text ?? ""));
};

const cardOf = (sample) => {
  const isImage = typeof sample.image === "string" && !Array.isArray(sample.histogram);
  return el("figure", { class: isImage ? null : "text" }, el("figcaption", { dir: "auto" }, String(sample.name)), contentOf(sample));
};

const drawSamples = () => {
  const names = [...new Set(samples.all.map((sample) => String(sample.name)))].sort();
  const select = $("sample-name");
  const chosen = names.includes(select.value) ? select.value : "";
  const options = ["", ...names];
  if ([...select.options].map((option) => option.value).join("\n") !== options.join("\n")) {
    select.replaceChildren(...options.map((name) => el("option", { value: name }, name || "all")));
  }
  select.value = chosen;
  const moments = new Map();
  for (const sample of samples.all) {
    if (chosen && sample.name !== chosen) continue;
    if (!moments.has(sample.step)) moments.set(sample.step, []);
    moments.get(sample.step).push(sample);
  }
  const steps = [...moments.keys()].sort((a, b) => b - a);
  const shown = steps.slice(0, MOST_MOMENTS);
  $("cards").replaceChildren(...shown.map((step) => el("section", { class: "moment" }, el("h3", {}, `step ${count(step)}`), el("div", {}, ...moments.get(step).map(cardOf)))));
  const left = steps.length - shown.length > 0 || samples.hasEarlier;
  say($("sample-count"), samples.all.length ? `${plural(samples.all.length, "sample")} at ${plural(steps.length, "step")}${left ? "; earlier ones are in the run's samples.jsonl" : ""}` : "");
  show($("cards"), samples.all.length > 0);
  show($("no-samples"), samples.all.length === 0);
  show(select.parentElement, names.length > 1);
  say($("no-samples"), "No samples. A trainer logs texts, images and histograms with Job::text, Job::image and Job::histogram.");
};

$("sample-name").addEventListener("change", drawSamples);
