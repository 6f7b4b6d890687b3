"""Writes reviews.jsonl: reviews of a guest house that nobody has stayed at, from a small grammar. The same program writes the same bytes.

What a review says depends on the order of its words: `not` turns the adjective behind it, and after `but` stands what counts.
"""

import json
import os
import random

THINGS = "room bed breakfast dinner shower garden pool kitchen view desk staff wifi heating parking lift bar".split()
ADJECTIVES = {
    "positive": "good great lovely excellent perfect comfortable spotless quiet superb pleasant bright warm".split(),
    "negative": "bad awful dirty broken noisy terrible cold dark poor unpleasant shabby disappointing".split(),
}
VERBS = {"positive": "loved enjoyed liked".split(), "negative": "hated regretted disliked".split()}
ADVERBS = ["really", "very", "so", "quite", "rather"]
FACTS = [
    "we stayed for {n} nights", "there are {n} rooms on each floor", "breakfast is served from {n} to ten",
    "the {a} is next to the {b}", "the station is {n} minutes away", "we paid at the desk when we left",
    "the {a} opens at {n}", "our room was on the {o} floor", "they have a {a} and a {b}", "we arrived at {n} in the evening",
]
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine"]
ORDINALS = ["first", "second", "third", "fourth", "top"]
OTHER = {"positive": "negative", "negative": "positive"}


def fact(r):
    a, b = r.sample(THINGS, 2)
    return r.choice(FACTS).format(a=a, b=b, n=r.choice(NUMBERS), o=r.choice(ORDINALS))


def opinion(r, side):
    thing, adverb = r.choice(THINGS), r.choice(ADVERBS)
    adjective, reverse = r.choice(ADJECTIVES[side]), r.choice(ADJECTIVES[OTHER[side]])
    return r.choice([
        f"the {thing} was {adverb} {adjective}",
        f"the {thing} was {adjective}",
        f"the {thing} was not {reverse} at all",
        f"we {r.choice(VERBS[side])} the {thing}",
        f"it was {adverb} {adjective}",
    ])


def review(r, label):
    if label == "neutral":
        parts = [fact(r) for _ in range(r.choice([1, 2, 2]))]
        return " and ".join(parts)
    said = opinion(r, label)
    shape = r.random()
    if shape < 0.3:
        return f"{opinion(r, OTHER[label])} but {said}"
    if shape < 0.5:
        return f"{fact(r)} and {said}"
    if shape < 0.7:
        return f"{said} and {opinion(r, label)}"
    return said


def main():
    r, seen = random.Random(7), {}
    while len(seen) < 1500:
        label = ["negative", "neutral", "positive"][len(seen) % 3]
        seen.setdefault(review(r, label), label)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reviews.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for text, label in seen.items():
            file.write(json.dumps({"text": text, "label": label}) + "\n")


if __name__ == "__main__":
    main()
