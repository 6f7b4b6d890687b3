// Round ticks.

/** The number of the first tick; zero is not negative. */
const firstTick = (from, step) => Math.ceil(from / step - 1e-9) + 0;

const linearTicks = (from, to, most, steps = [1, 2, 5, 10]) => {
  const raw = (to - from) / Math.max(1, most);
  if (!(raw > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = steps.map((it) => it * power).find((it) => it >= raw * 0.999) || 10 * power;
  const ticks = [];
  // By index: adding up would drift.
  for (let at = firstTick(from, step); at * step <= to + step * 1e-9; at += 1) ticks.push(at * step);
  return ticks;
};

/** Ticks at whole numbers. */
const wholeTicks = (from, to, most) => {
  const steps = (to - from) / most >= 10 ? [1, 2, 2.5, 5, 10] : [1, 2, 5, 10];
  return linearTicks(from, to, Math.min(most, to - from), steps).map(Math.round);
};

const logTicks = (from, to, most) => {
  const [low, high] = [Math.floor(Math.log10(from)), Math.ceil(Math.log10(to))];
  const factors = high - low <= 2 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil((high - low) / most));
  const ticks = [];
  for (let power = low; power <= high; power += stride) {
    for (const factor of factors) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= from * 0.999 && tick <= to * 1.001) ticks.push(tick);
    }
  }
  return ticks.length > 1 ? ticks : linearTicks(from, to, most).filter((tick) => tick > 0);
};

const TIMES = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

const timeTicks = (from, to, most) => {
  const raw = (to - from) / Math.max(1, most);
  const step = TIMES.find((it) => it >= raw) || 86400 * Math.ceil(raw / 86400);
  const ticks = [];
  for (let at = firstTick(from, step); at * step <= to + step * 1e-9; at += 1) ticks.push(at * step);
  return ticks;
};

const byteTicks = (from, to, most) => {
  const unit = 1024 ** Math.floor(Math.log2(Math.max(1, Math.abs(to), Math.abs(from))) / 10);
  return linearTicks(from / unit, to / unit, most).map((tick) => tick * unit);
};

const clock = (seconds) => {
  const whole = Math.round(seconds);
  if (seconds < 60) return `${Math.round(seconds * 10) / 10}s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${whole / 60}m`;
  if (whole < 86400) return whole % 3600 ? `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}h` : `${whole / 3600}h`;
  return `${Math.round(whole / 8640) / 10}d`;
};

/** Labels with as many digits as tell the ticks apart. */
const tickLabels = (ticks, unit) => {
  if (unit === "seconds") return ticks.map(clock);
  const most = Math.max(...ticks.map(Math.abs), 0);
  if (unit === "bytes") {
    const power = Math.min(4, Math.floor(Math.log2(Math.max(1, most)) / 10));
    const size = 1024 ** power;
    const digits = digitsOf(ticks.map((tick) => tick / size));
    return ticks.map((tick) => `${(tick / size).toFixed(digits)} ${["B", "K", "M", "G", "T"][power]}`);
  }
  if (unit === "share") return ticks.map((tick) => `${Math.round(tick * 1000) / 10}%`);
  const least = Math.min(...ticks.filter((tick) => tick !== 0).map(Math.abs));
  if (most >= 1e6 && least >= 1e3) return ticks.map((tick) => (tick === 0 ? "0" : `${Number((tick / 1e6).toPrecision(6))}M`));
  if (most >= 1e4 && least >= 100) return ticks.map((tick) => (tick === 0 ? "0" : `${Number((tick / 1e3).toPrecision(6))}k`));
  if (most < 0.01 || most >= 1e4 || most / least > 1e4) return ticks.map((tick) => (tick === 0 ? "0" : Number(tick.toPrecision(3)).toExponential().replace("e+", "e")));
  const digits = digitsOf(ticks);
  return ticks.map((tick) => (most >= 1000 ? tick.toLocaleString(EN, { maximumFractionDigits: digits }) : tick.toFixed(tick === 0 ? 0 : digits)));
};

const digitsOf = (ticks) => {
  for (let digits = 0; digits < 8; digits += 1) {
    if (ticks.every((tick) => Math.abs(tick - Number(tick.toFixed(digits))) <= Math.abs(tick) * 1e-6)) return digits;
  }
  return 8;
};
