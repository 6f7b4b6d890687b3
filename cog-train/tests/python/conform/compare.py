"""The comparison of what both servers answered."""

import collections
import json
import re

from known import ABSENT, KNOWN, Difference


def differences(cog, ours, path=""):
    """Yields the path, Cog's value and ours where two values differ."""
    if isinstance(cog, dict) and isinstance(ours, dict):
        for key in sorted({*cog, *ours}):
            yield from differences(cog.get(key, ABSENT), ours.get(key, ABSENT), f"{path}/{key}")
    elif cog != ours or type(cog) is not type(ours):
        yield path, cog, ours


class Known:
    """Counts differences by the list of the documentation."""

    def __init__(self, document):
        with open(document) as file:
            section = file.read().split("## Differences from Cog\n")[1].split("\n## ")[0]
        self.listed = re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE)
        if sorted(self.listed) != sorted(KNOWN):
            raise SystemExit(f"the list of {document} is not that of compare.py: {sorted({*self.listed} ^ {*KNOWN})}")
        self.cases, self.differing, self.counts, self.others = 0, 0, collections.Counter(), []

    def compare(self, scenario, cog, ours):
        """Compares what one scenario recorded, and prints each difference that is not listed."""
        found, equal = collections.Counter(), 0
        for case in [*cog, *(it for it in ours if it not in cog)]:
            apart = list(differences(cog.get(case, ABSENT), ours.get(case, ABSENT)))
            equal += not apart
            for path, one, other in apart:
                difference = Difference(scenario, case, path, one, other, cog.get(case), ours.get(case))
                name = next((name for name, test in KNOWN.items() if test(difference)), None)
                if name is None:
                    self.others.append(case)
                    print(f"{scenario}: {case}: {path}\n    cog  {shorten(one)}\n    ours {shorten(other)}")
                found[name or "NOT LISTED"] += 1
        self.cases += len(cog)
        self.differing += len(cog) - equal
        self.counts.update(found)
        print(f"{scenario}: {len(cog)} answers, {equal} equal; differences: {dict(found) or 'none'}", flush=True)

    def report(self, is_whole):
        """Prints the counts; returns the exit code."""
        print(f"\n{self.cases} answers, {self.cases - self.differing} equal, {self.differing} with differences:")
        for name in self.listed:
            print(f"{self.counts[name]:6} {name}")
        stale = [name for name in self.listed if is_whole and not self.counts[name]]
        if stale:
            print(f"listed, and not seen: {stale}")
        print(f"{len(self.others):6} that are not listed")
        return 1 if self.others or stale else 0


def shorten(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 400 else f"{text[:300]} ... {text[-60:]}"
