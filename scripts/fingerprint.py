"""Check that two versions of the code train to the same weights: run each, then compare.

    python scripts/fingerprint.py run FOLDER [key=value …]
    python scripts/fingerprint.py compare FOLDER OTHER

Every learner trains for a few steps on glyphs, and learners for regression also on sinusoids, in
single and double precision. The weights, the test scores and the hash of the test episodes are
compared.

Adam amplifies the rounding errors of gradients that should be 0 (of biases before batch
normalisation). If the order of a sum has changed, compare with `optimizer=sgd optimizer.lr=0.01`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

LEARNERS = (
    "anil",
    "baseline",
    "baseline_pp",
    "fomaml",
    "lstm",
    "maml",
    "matchingnet",
    "meta_sgd",
    "protonet",
    "relationnet",
    "reptile",
    "siamese",
)
REGRESSORS = ("anil", "fomaml", "lstm", "maml", "meta_sgd", "reptile")
SHORT_RUN = (
    "steps=6",
    "meta_batch=3",
    "shots=2",
    "queries=4",
    "eval_every=3",
    "log_every=1",
    "val_episodes=4",
    "test_episodes=20",
    "logger=none",
    "threads=1",
    "seed=3",
)


def run(folder: Path, overrides: Sequence[str]) -> None:
    """Train each learner in its own folder."""
    from metarun import cli

    tasks = [("glyphs", name) for name in LEARNERS] + [("sinusoid", name) for name in REGRESSORS]
    for data, name in tasks:
        for precision in ("float32", "float64"):
            out = folder / f"{name}_{data}_{precision}"
            choices = [f"algo={name}", f"data={data}", f"precision={precision}", f"out={out}"]
            small = ["algo.hidden=4"] if name == "lstm" else []
            if cli.main([*choices, *SHORT_RUN, *small, *overrides]) != 0:
                sys.exit(f"{out}: failed")


def compare(folder: Path, other: Path) -> int:
    """Print the largest relative difference of each run; return 1 if one exceeds its bound."""
    exit_code = 0
    for a in sorted(p.parent for p in folder.glob("*/result.json")):
        b = other / a.name
        states = [torch.load(x / "checkpoints/last.pt", weights_only=True) for x in (a, b)]
        first, second = (state["learner"] for state in states)
        weight_error = 0.0
        for name, tensor in first.items():
            x, y = tensor.double(), second[name].double()
            scale = max(float(x.abs().max()), 1e-12) if x.numel() else 1.0
            error = float((x - y).abs().max()) / scale if x.numel() else 0.0
            weight_error = max(weight_error, error)
        results = [json.loads((x / "result.json").read_text()) for x in (a, b)]
        same_episodes = len({r["protocol"]["episodes_sha256"] for r in results}) == 1
        means = [
            {k: v["mean"] for k, v in r["test"].items() if isinstance(v, dict)} for r in results
        ]
        score_error = max(abs(means[0][k] - means[1][k]) for k in means[0])
        bound = 1e-12 if a.name.endswith("float64") else 1e-4
        is_equal = weight_error <= bound and same_episodes and first.keys() == second.keys()
        exit_code |= not is_equal
        mark = "✓" if is_equal else "✗"
        hashes = "same" if same_episodes else "DIFFERENT"
        errors = f"weights {weight_error:.1e}  scores {score_error:.1e}"
        print(f"{mark} {a.name:30} {errors}  episodes {hashes}")
    return exit_code


if __name__ == "__main__":
    if len(sys.argv) >= 3 and sys.argv[1] == "run":
        run(Path(sys.argv[2]), sys.argv[3:])
    elif len(sys.argv) == 4 and sys.argv[1] == "compare":
        sys.exit(compare(Path(sys.argv[2]), Path(sys.argv[3])))
    else:
        sys.exit(__doc__)
