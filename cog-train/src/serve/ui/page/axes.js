// The axes of a plot, with their ticks.

function paintAxes(plot, to) {
  const [soft, grid, strong] = [css("--soft"), css("--grid"), css("--strong")];
  to.font = `11px ${css("--sans")}`;
  to.fillStyle = soft;
  to.lineWidth = 1;
  const [low, high] = plot.ys;
  let ticks;
  if (plot.isLog) ticks = logTicks(low, high, 6);
  else if (plot.unit === "bytes") ticks = byteTicks(low, high, 5);
  else if (plot.unit === "seconds") ticks = timeTicks(low, high, 5);
  else ticks = linearTicks(low, high, 6);
  const labels = tickLabels(ticks, plot.unit);
  to.textAlign = "right";
  to.textBaseline = "middle";
  let last = Infinity;
  ticks.forEach((tick, at) => {
    const y = Math.round(plot.py(tick)) + 0.5;
    to.strokeStyle = grid;
    to.beginPath();
    to.moveTo(GUTTER, y);
    to.lineTo(plot.width - RIGHT, y);
    to.stroke();
    if (last - y < 12) return;
    last = y;
    to.fillText(labels[at], GUTTER - 7, Math.min(Math.max(y, 6), HEIGHT - FOOT - 3));
  });
  const room = Math.max(2, Math.floor((plot.width - GUTTER) / 62));
  const isTime = plot.axis === "time";
  const along = isTime ? timeTicks(...plot.xs, room) : wholeTicks(...plot.xs, room);
  const names = isTime ? along.map(clock) : tickLabels(along, "number").map((text, at) => (/[kM]$/.test(text) ? text : count(along[at])));
  to.strokeStyle = strong;
  to.beginPath();
  to.moveTo(GUTTER, HEIGHT - FOOT + 0.5);
  to.lineTo(plot.width - RIGHT, HEIGHT - FOOT + 0.5);
  along.forEach((tick, at) => {
    const x = Math.round(plot.px(tick)) + 0.5;
    to.moveTo(x, HEIGHT - FOOT);
    to.lineTo(x, HEIGHT - FOOT + 4);
    const half = to.measureText(names[at]).width / 2;
    to.textAlign = "center";
    to.textBaseline = "top";
    to.fillText(names[at], Math.min(x, plot.width - half), HEIGHT - FOOT + 6);
  });
  to.stroke();
}
