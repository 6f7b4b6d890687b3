"""Writes pairs.jsonl: what guests say, and the order that the staff of a guest house writes down for it, from a small grammar. The
same program writes the same bytes.

A guest and the staff use different words for the same thing, defect and place, so that words in common find nothing. The negative
of a row is an order for the same thing at the same place with another defect.
"""

import json
import os
import random

# What the guest says, and what the staff writes.
THINGS = [
    ("heating", "radiator"), ("light", "lamp"), ("tap", "faucet"), ("bed", "mattress"), ("window", "pane"), ("door", "gate"),
    ("tv", "screen"), ("fridge", "minibar"), ("wifi", "router"), ("shower", "washroom"), ("lift", "elevator"), ("curtain", "blind"),
    ("sofa", "couch"), ("carpet", "rug"), ("toilet", "lavatory"), ("phone", "handset"), ("fan", "ventilator"), ("cupboard", "wardrobe"),
]
DEFECTS = [
    ("is broken", "repair"), ("is dirty", "clean"), ("is too loud", "muffle"), ("is missing", "fetch"), ("is stuck", "loosen"),
    ("smells bad", "air"), ("is all wet", "dry"), ("is ice cold", "warm"), ("is too old", "renew"), ("shakes a lot", "fasten"),
]
PLACES = [
    ("in the attic", "under the roof"), ("in the cellar", "below ground"), ("by the pool", "near the water"),
    ("in the hall", "at the entrance"), ("in the annex", "next building"), ("in the garden room", "facing the lawn"),
    ("in our bedroom", "guest chamber"), ("in the kitchen", "beside the stove"),
]
SAID = ["the {thing} {place} {defect}", "hello, {place} the {thing} {defect}", "can you help? the {thing} {defect} {place}"]
WRITTEN = ["{defect} the {thing} {place}", "{place}: {defect} {thing}", "please {defect} the {thing}, {place}"]


def said(r, thing, defect, place):
    return r.choice(SAID).format(thing=thing[0], defect=defect[0], place=place[0])


def written(r, thing, defect, place):
    return r.choice(WRITTEN).format(thing=thing[1], defect=defect[1], place=place[1])


def main():
    r = random.Random(11)
    cases = [(thing, defect, place) for thing in THINGS for defect in DEFECTS for place in PLACES]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pairs.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for thing, defect, place in r.sample(cases, 900):
            other = r.choice([other for other in DEFECTS if other != defect])
            row = {
                "anchor": said(r, thing, defect, place),
                "positive": written(r, thing, defect, place),
                "negative": written(r, thing, other, place),
            }
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
