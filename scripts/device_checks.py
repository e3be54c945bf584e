"""Check training, resume, evaluation, engines and seeds on a GPU against the CPU.

    python scripts/device_checks.py [--device cuda] [algo …]

Every learner trains for a few steps on glyphs in double precision with plain gradient descent, on
the CPU and on the device, and weights and test scores are compared; learners with an inner loop
with each of its engines. Then one run is repeated, another is interrupted and resumed, and a third
is tested on the CPU. The exit code is 1 if a check fails. Without the device, the script says so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fingerprint import LEARNERS, SHORT_RUN

from metarun import cli

TOLERANCE = 1e-6  # of weights in double precision after 6 steps, and of test scores
EXACT = ("precision=float64", "optimizer=sgd", "optimizer.lr=0.01")
ENGINES = {
    **dict.fromkeys(("maml", "fomaml", "meta_sgd"), ("loop", "vmap", "layerwise")),
    **dict.fromkeys(("anil", "reptile"), ("loop", "vmap")),
}


def metarun(*words: str) -> None:
    """Run a command quietly.

    Raises:
        RuntimeError: it failed; the message is what it printed.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = cli.main(list(words))
    if code:
        raise RuntimeError(f"metarun {' '.join(words)}: exit code {code}\n{printed.getvalue()}")


def weights(run: Path) -> torch.Tensor:
    """Return the last weights of a run as one vector on the CPU."""
    state = torch.load(run / "checkpoints" / "last.pt", map_location="cpu", weights_only=True)
    return torch.cat([w.flatten().double() for w in state["learner"].values()])


def difference(a: Path, b: Path) -> float:
    return float((weights(a) - weights(b)).abs().max())


def accuracy(result: Path) -> float:
    return json.loads(result.read_text("utf-8"))["test"]["accuracy"]["mean"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("algo", nargs="*", help="learners; default: all")
    arguments = parser.parse_args()
    device, algos = arguments.device, arguments.algo or LEARNERS
    if device == "cuda" and not torch.cuda.is_available():
        print("skipped: PyTorch sees no CUDA GPU here")
        return 0
    failed = 0

    def check(name: str, value: Callable[[], float], limit: float | None) -> None:
        """Print a line; a value above the limit, or an error, is a failure."""
        nonlocal failed
        start = time.perf_counter()
        try:
            found = value()
            wrong = limit is not None and not found <= limit
            text = f"{found:.1e}" + (f" (limit {limit:.0e})" if limit is not None else "")
        except Exception as error:
            wrong, text = True, f"{type(error).__name__}: {error}"
        failed += wrong
        mark = "FAILED" if wrong else "ok"
        print(f"{mark:7}{name:44}{text}  {time.perf_counter() - start:.1f} s", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def trained(out: str, *words: str) -> Path:
            metarun(*SHORT_RUN, "data=glyphs", *words, f"out={folder / out}")
            return folder / out

        def on_both(algo: str, engine: str) -> float:
            chosen = (f"algo={algo}", *EXACT)
            cpu = folder / f"{algo}_cpu"
            if not cpu.exists():
                trained(cpu.name, *chosen, "device=cpu", "engine=loop")
            gpu = trained(f"{algo}_{engine}", *chosen, f"device={device}", f"engine={engine}")
            scores = [accuracy(run / "result.json") for run in (cpu, gpu)]
            return max(difference(cpu, gpu), abs(scores[0] - scores[1]))

        for algo in algos:
            for engine in ENGINES.get(algo, ("loop",)):
                check(f"{algo} engine={engine}", lambda a=algo, e=engine: on_both(a, e), TOLERANCE)

        for algo in ("maml", "protonet"):
            same = (f"algo={algo}", f"device={device}")

            def repeated(algo: str = algo, same: tuple[str, ...] = same) -> float:
                runs = [trained(f"{algo}_repeat{i}", *same) for i in range(2)]
                return difference(*runs)

            def resumed(algo: str = algo, same: tuple[str, ...] = same) -> float:
                run = trained(f"{algo}_resumed", *same, "steps=3")
                metarun(f"resume={run}", "steps=6")
                return difference(run, folder / f"{algo}_repeat0")

            def tested_on_cpu(algo: str = algo) -> float:
                run = folder / f"{algo}_repeat0"
                metarun("evaluate", f"run={run}", "device=cpu")
                tested = max(run.glob("evaluations/*/result.json"))
                return abs(accuracy(tested) - accuracy(run / "result.json"))

            check(f"{algo} twice, float32", repeated, None)
            check(f"{algo} resumed, float32", resumed, None)
            check(f"{algo} tested on the CPU, float32", tested_on_cpu, 0.01)
    print(f"{failed} checks failed" if failed else "all checks passed")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
