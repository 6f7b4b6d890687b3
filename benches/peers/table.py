"""From records of many rounds to one table a job, in Markdown."""

import statistics

import flops
from jobs import COLUMNS, GOALS, LOSS_GOAL, LOSS_STEPS, TITLES

RIVALS = ("eager", "fused", "compile")  # among which PyTorch's best is
NAMES = {
    "eager": "PyTorch, eager",
    "fused": "PyTorch, eager, fused AdamW",
    "compile": "torch.compile, fused AdamW",
    "pages": "PyTorch, fused AdamW, glibc keeps its pages",
    "ours": "ours",
}
HEAD = "| | step, ms | peak memory, MiB | first step, s | share of peak | loss apart |"


def number(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def spread(values):
    """Median [least, greatest]."""
    middle, ends = number(statistics.median(values)), (number(min(values)), number(max(values)))
    return middle if len(values) == 1 else f"{middle} [{', '.join(ends)}]"


def apart(losses, reference):
    """Greatest relative difference; infinite where either is no number."""
    pairs = list(zip(losses[:LOSS_STEPS], reference[:LOSS_STEPS]))
    differences = [abs(a - b) / abs(b) for a, b in pairs]
    return max((d if d == d else float("inf") for d in differences), default=float("inf"))


def column(records, key):
    return [r[key] for r in records.values()]


def ratio(runs, key):
    """Ours over PyTorch's best in one column: of the medians, and the ratios within each round."""
    rivals = [m for m in RIVALS if runs.get(m)]
    if not rivals or not runs.get("ours"):
        return None
    median = {m: statistics.median(column(runs[m], key)) for m in (*rivals, "ours")}
    best = min(rivals, key=median.get)
    rounds = [r[key] / runs[best][at][key] for at, r in runs["ours"].items() if at in runs[best]]
    return median["ours"] / median[best], rounds


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def table(job, runs, gflops):
    """`runs` maps a mode to {round: record}; `gflops` is the peak of the machine's matrix products."""
    eager = next(iter(runs.get("eager", {}).values()), None)
    lines = [f"### {job.upper()}: {TITLES[job]}", "", HEAD, "|---|---|---|---|---|---|"]
    differences = {}
    for mode, name in NAMES.items():
        if not (records := runs.get(mode)):
            continue
        step = statistics.median(column(records, "step_ms"))
        share = f"{flops.STEP[job] / step / 1e6 / gflops:.2f}" if gflops else ""
        if eager:
            differences[mode] = max(apart(r["losses"], eager["losses"]) for r in records.values())
        loss = f"{differences[mode]:.1e}" if mode in differences else ""
        lines.append(row(name, *(spread(column(records, key)) for key in COLUMNS), share, loss))

    ratios = [ratio(runs, key) for key in COLUMNS]
    if all(ratios):
        cells = []
        for middle, rounds in ratios:
            ends = f" [{min(rounds):.3f}, {max(rounds):.3f}]" if len(rounds) > 1 else ""
            cells.append(f"{middle:.3f}{ends}")
        lines.append(row("**ours / PyTorch's best**", *cells, "", ""))
        goals = [f"at most {goal:.2f}" for goal in GOALS[job]]
        lines.append(row("goal", *goals, "", f"at most {LOSS_GOAL:.0e}" if eager else ""))
        met = [middle <= goal for (middle, _), goal in zip(ratios, GOALS[job])]
        loss = ("yes" if differences["ours"] <= LOSS_GOAL else "**no**") if eager else ""
        lines.append(row("met", *("yes" if m else "**no**" for m in met), "", loss))
    return "\n".join(lines)
