// The points of a run's curves: fetched once in few buckets, then followed at the end of the file.

/** The time of steps, by points on the line between which the others are. */
class Times {
  constructor() {
    this.step = [];
    this.time = [];
  }

  add(step, time) {
    this.step.push(...step);
    this.time.push(...time);
  }

  get start() {
    return this.time[0];
  }

  /** Seconds since the first step that was timed. */
  at(step) {
    return this.time.length ? between(this.step, this.time, step) - this.start : NaN;
  }

  /** The step at a time. */
  stepAt(seconds) {
    return this.time.length ? between(this.time, this.step, seconds + this.start) : NaN;
  }
}

/** The first index whose value is not below `wanted`. */
const indexOf = (values, wanted) => {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** The line through points, and beyond them the last ones' value. */
const between = (xs, ys, x) => {
  const at = indexOf(xs, x);
  if (at === 0) return ys[0];
  if (at === xs.length) return ys[ys.length - 1];
  const share = (x - xs[at - 1]) / (xs[at] - xs[at - 1] || 1);
  return ys[at - 1] + share * (ys[at] - ys[at - 1]);
};

const COLUMNS = ["x", "mean", "min", "max"];

class Curves {
  constructor(id) {
    this.id = id;
    this.reset();
  }

  reset() {
    this.width = 0;
    this.cursor = null;
    this.series = new Map();
    this.zoomed = null;
    this.zoomKey = "";
    this.times = new Times();
    this.timesCursor = null;
    this.first = Infinity;
    this.last = -Infinity;
    this.loaded = false;
    this.problem = null;
  }

  static columns(series) {
    const { x, mean, min = mean.slice(), max = mean.slice() } = series;
    return { x, mean, min, max, count: series.count, notFinite: series.not_finite };
  }

  /** Reads what is new; everything where the curves have become too long to draw, or the run has begun again. */
  async follow(width) {
    const tooLong = [...this.series.values()].some((series) => series.x.length > 5 * width);
    if (!this.loaded || tooLong || this.width < width / 1.5) {
      const answer = await get(runPath(this.id, "/metrics"), { width });
      this.series.clear();
      this.width = width;
      this.take(answer);
      this.loaded = true;
      return true;
    }
    const answer = await get(runPath(this.id, "/metrics"), { width, after: this.cursor });
    if (answer.restarted) {
      const times = this.times;
      this.reset();
      this.times = times;
      return this.follow(width);
    }
    this.take(answer);
    return answer.lines > 0;
  }

  take(answer) {
    this.cursor = answer.cursor;
    if (answer.first !== null && answer.first !== undefined) {
      this.first = Math.min(this.first, answer.first);
      this.last = Math.max(this.last, answer.last);
    }
    for (const [name, series] of Object.entries(answer.series)) {
      const added = Curves.columns(series);
      const known = this.series.get(name);
      if (!known) {
        this.series.set(name, added);
        continue;
      }
      for (const column of COLUMNS) for (const value of added[column]) known[column].push(value);
      known.count += added.count;
      known.notFinite += added.notFinite;
    }
  }

  async followTimes(width) {
    const answer = await get(runPath(this.id, "/clock"), { width, after: this.timesCursor });
    if (answer.restarted) this.times = new Times();
    this.times.add(answer.step, answer.time);
    this.timesCursor = answer.cursor;
  }

  /** Reads the points of a part, or forgets them. */
  async zoom(from, to, width) {
    const key = from === null ? "" : `${from} ${to} ${width}`;
    if (key === this.zoomKey) return false;
    this.zoomKey = key;
    if (!key) {
      this.zoomed = null;
      return true;
    }
    // A step on either side, so that the line leaves the plot and does not end in it.
    const answer = await get(runPath(this.id, "/metrics"), { width, from: Math.floor(from) - 1, to: Math.ceil(to) + 1 });
    if (this.zoomKey !== key) return false;
    this.zoomed = new Map(Object.entries(answer.series).map(([name, series]) => [name, Curves.columns(series)]));
    return true;
  }

  /** The points of a metric in the visible part. */
  of(name) {
    return (this.zoomed || this.series).get(name);
  }
}

/** The exponential mean of points, without the pull of its start. */
const smoothed = (values, weight) => {
  if (!weight) return values;
  let [sum, mass] = [0, 0];
  return values.map((value) => {
    sum = sum * weight + value * (1 - weight);
    mass = mass * weight + 1 - weight;
    return sum / mass;
  });
};
