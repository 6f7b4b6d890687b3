"""Reads a run's event file with TensorBoard's own reader and compares it with metrics.jsonl, number by number.

    python3 -m venv venv && venv/bin/pip install tensorboard
    venv/bin/python cog-train/tests/peers/check_tensorboard.py runs/20261123-220311

The two must hold the same names, the same steps in the same order, and the same values to the last bit of a 32-bit
float, which is what TensorBoard keeps.
"""

import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def as_float(value):
    """A number of metrics.jsonl; None for what is no number."""
    if isinstance(value, str):
        return NOT_FINITE.get(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def bits(value):
    """The number as TensorBoard keeps it; every NaN is one."""
    if math.isnan(value):
        return "nan"
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def main(folder):
    expected = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        step = row.pop("step")
        for name, value in row.items():
            if (number := as_float(value)) is not None:
                expected.setdefault(name, []).append((step, bits(number)))

    # 0: keep every event and not a sample of them.
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = {
        name: [(event.step, bits(event.value)) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    if sorted(found) != sorted(expected):
        sys.exit(f"names differ: {sorted(found)} in the events, {sorted(expected)} in metrics.jsonl")
    for name, rows in expected.items():
        if found[name] != rows:
            pairs = zip(found[name], rows)
            where = next((pair for pair in pairs if pair[0] != pair[1]), "their number")
            sys.exit(f"{name} differs: {len(found[name])} events, {len(rows)} lines, first at {where}")
    count = sum(len(rows) for rows in expected.values())
    print(f"{folder}: {count} numbers of {len(expected)} names are the same")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
