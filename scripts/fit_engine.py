#!/usr/bin/env python3
"""Fits the constants of llama.cpp in data/engines.json to published measurements.

    scripts/fit_engine.py build/bin/tandem measurements.csv [--engine llama.cpp] [--only a,b] > x.json

Only rows of sources that the backtest calls fitted are read; held-out sources never are. What is
minimised is the mean over rows of |log(predicted / measured)|, capped, so that rows which no
constant explains do not pull; each source counts with the square root of its number of rows, so
that one large table does not decide alone. Coordinate descent: a constant after another is moved
by a factor while the sum falls, and the factor is made smaller. Moving a constant costs a little
(PRIOR times the logarithm of how far), so that what few rows hardly determine stays what it was.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

PRIOR = 0.002
CAP = 0.7  # a factor of two: beyond it a row tells nothing of constants

# Constants of the engine, then of its back ends. What stands in several back ends of one engine and
# means the same is moved in all of them.
ENGINE = ["stage_hop_us", "pipeline_overlap", "all_reduce_us", "reduce_step_share",
          "expert_layer_factor", "linear_layer_factor", "decode_power_share"]
SHARED = ["matvec_ops_half", "matvec_ops_quantised", "layer_us", "prefill_layer_us",
          "quantised_factor", "attention_factor"]
OWN = ["memory_efficiency", "kv_efficiency", "matmul_efficiency"]


def rows_of(program, table, profiles):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(profiles, file)
        file.flush()
        run = subprocess.run([program, "plan", "backtest", table, "--json"], capture_output=True,
                             text=True, check=True, env={**os.environ, "TANDEM_ENGINES": file.name})
    return json.loads(run.stdout)["rows"]


def loss_of(rows, profile):
    by_source = {}
    for row in rows:
        if row["why_unused"] or row["held_out"] or row["profile"] != profile:
            continue
        if row["concurrency"] != 1:
            continue
        for phase, weight in (("decode", 1.0), ("prefill", 0.5)):
            measured = row[f"measured_{phase}_tokens_per_s"]
            predicted = row[f"predicted_{phase}_tokens_per_s"]
            if measured and predicted:
                error = abs(math.log(predicted / measured))
                by_source.setdefault(row["source"], []).append(weight * min(error, CAP))
    total = sum(math.sqrt(len(errors)) for errors in by_source.values())
    return sum(math.sqrt(len(e)) * sum(e) / len(e) for e in by_source.values()) / total


def constants_of(engine):
    """[(name, list of dictionaries that hold it)]"""
    found = [(name, [engine]) for name in ENGINE]
    gpu = [name for name in engine["backends"] if name not in ("cpu", "metal")]
    found += [(name, [engine["backends"][b] for b in gpu]) for name in SHARED]
    for backend in engine["backends"]:
        if backend != "cpu":
            found += [(name, [engine["backends"][backend]]) for name in OWN]
    if "metal" in engine["backends"]:
        found += [(name, [engine["backends"]["metal"]]) for name in SHARED]
    return found


def fit(program, table, document, name, rounds, only):
    engine = next(e for e in document["engines"] if e["name"] == name)
    constants = [c for c in constants_of(engine) if not only or c[0] in only]
    start = [[holder[constant] for holder in holders] for constant, holders in constants]

    def value():
        moved = sum(abs(math.log(max(holder[constant], 1e-9) / max(old, 1e-9)))
                    for (constant, holders), olds in zip(constants, start)
                    for holder, old in zip(holders[:1], olds[:1]))
        return loss_of(rows_of(program, table, document), name) + PRIOR * moved

    best = value()
    print(f"{name}: {best:.4f}", file=sys.stderr)
    factor = 1.25
    for _ in range(rounds):
        for constant, holders in constants:
            for step in (factor, 1 / factor):
                before = [holder[constant] for holder in holders]
                for holder in holders:
                    holder[constant] = float(f"{holder[constant] * step:.4g}")
                    if constant in ("pipeline_overlap", "memory_efficiency", "matmul_efficiency"):
                        holder[constant] = min(1.0, holder[constant])
                now = value()
                if now < best - 1e-5:
                    best = now
                    break
                for holder, old in zip(holders, before):
                    holder[constant] = old
        print(f"{name}: {best:.4f} at steps of {factor:.3f}", file=sys.stderr)
        factor = 1 + (factor - 1) / 1.6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("table")
    parser.add_argument("--profiles", default="data/engines.json")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", action="append", default=[])
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    arguments = parser.parse_args()
    with open(arguments.profiles) as file:
        document = json.load(file)
    for name in arguments.engine or ["llama.cpp-2024", "llama.cpp"]:
        fit(arguments.program, arguments.table, document, name, arguments.rounds, arguments.only)
    json.dump(document, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
