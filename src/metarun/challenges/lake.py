"""Omniglot's one-shot challenge: 20 runs of 20-way 1-shot classification within an alphabet.

Lake, Salakhutdinov & Tenenbaum, 2015: models are trained on the 30 background alphabets only. The
reported figure is the error rate, averaged over the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarun.config.schema import RunConfig
    from metarun.data.lake import Runs

TASK = {"ways": 20, "shots": 1, "queries": 1, "episodes": 20}
BACKGROUND = "data=omniglot data.split=background_evaluation"
PUBLISHED = "Lake et al. 2015: people 4.5 %, BPL 3.3 %"


def admit(config: RunConfig) -> list[str]:
    """One line if the run was trained on other data than the background set, else none."""
    requirement = f"protocol=lake is for runs trained on the background set only: {BACKGROUND}"
    data = config.data
    if data.get("_target_") != "metarun.data.omniglot.Omniglot":
        return [f"trained on data={config.choices.data}; {requirement}"]
    if data.get("split") != "background_evaluation":
        return [f"trained with data.split={data.get('split')}; {requirement}"]
    return []


def load(config: RunConfig) -> Runs:
    """The 20 runs, downloaded if `data.root` does not hold them."""
    from metarun.data import lake

    return lake.read_runs(config.data["root"], config.data["url"])


def verdict(test: Mapping[str, Any]) -> str:
    """The mean error rate with its interval, and the published rates."""
    mean, ci95 = (100 * test["error_rate"][key] for key in ("mean", "ci95"))
    return f"error rate {mean:.1f} ± {ci95:.1f} % over {test['episodes']} runs ({PUBLISHED})"
