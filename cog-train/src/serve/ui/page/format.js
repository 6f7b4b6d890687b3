// Numbers, times and names as text.

const EN = "en-US";

/** A number with four digits. */
const short = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace("e+", "e");
  if (size >= 1000) return value.toLocaleString(EN, { maximumFractionDigits: 0 });
  return value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 4);
};

const count = (value) => (value === null || value === undefined ? "\u2013" : Math.round(value).toLocaleString(EN));

const plural = (number, noun, nouns = `${noun}s`) => `${count(number)} ${number === 1 ? noun : nouns}`;

const two = (number) => String(number).padStart(2, "0");

const duration = (seconds) => {
  if (!Number.isFinite(seconds) || seconds < 0) return "\u2013";
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  return `${Math.floor(minutes / 1440)}d ${two(Math.floor((minutes % 1440) / 60))}h`;
};

const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let size = Math.abs(value);
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${value < 0 ? "\u2212" : ""}${size.toFixed(digits)} ${units[unit]}`;
};

/** A moment by the reader's clock: the hour today, the day before. */
const moment = (iso) => {
  const date = new Date(iso);
  if (!iso || Number.isNaN(date.getTime())) return "\u2013";
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return time;
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const old = Date.now() - date.getTime() > 300 * 86400e3;
  return old ? `${day} ${date.getFullYear()}` : `${day}, ${time}`;
};

const NAMES = {
  grad_norm: "gradient norm",
  "time/memory_bytes": "memory",
  "time/device_memory_bytes": "device memory",
  "time/eta_seconds": "time left",
  "time/data_wait": "waiting for data",
};

/** The name of a metric for a reader. */
const titleOf = (name) => NAMES[name] || name.replace(/^time\//, "").replaceAll("_", " ");

/** The scale of a metric's values: where its ticks are round, and how they read. */
const unitOf = (name) => {
  if (/bytes$/.test(name)) return "bytes";
  if (/(^|[/_])(seconds|duration)$/.test(name)) return name.includes("per_") ? "number" : "seconds";
  if (name === "time/data_wait") return "share";
  return "number";
};

const valueText = (unit, value) => {
  if (unit === "bytes") return bytes(value);
  if (unit === "seconds") return duration(value);
  if (unit === "share") return `${(value * 100).toFixed(1)} %`;
  return short(value);
};

/** An input's value on one line or several. */
const inputText = (value) => {
  if (value === null || value === undefined) return "\u2013";
  if (typeof value === "string") return value;
  return JSON.stringify(value, null, typeof value === "object" && JSON.stringify(value).length > 60 ? 1 : 0);
};
