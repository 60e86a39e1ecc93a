"""Runs one scenario of a script: `SCRIPT SCENARIO key=value …` calls SCENARIO(key=value, …).

A scenario is an async function that plays the outside world (clients, targets, crooked edges) and
asserts what it sees. Figures that it returns are printed as JSON on the last line of the output.
"""

import asyncio
import json
import random
import sys


def value(text):
    return int(text) if text.lstrip("-").isdigit() else text


def main(scenarios):
    name, *pairs = sys.argv[1:]
    arguments = {key: value(text) for key, text in (pair.split("=", 1) for pair in pairs)}
    seed = arguments.pop("seed", None) or random.SystemRandom().randrange(1 << 32)
    random.seed(seed)
    print(f"{name} seed={seed}", flush=True)
    figures = asyncio.run(scenarios[name](**arguments))
    print(json.dumps(figures or {}))
