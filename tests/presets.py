"""A preset of one's own, for tests of published figures."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import OWN

NAME = "nearest_item/blobs"  # published figures belong to ALGO/DATA


def preset(
    folder: Path, published: str = "[30.0]", reruns: str = "{}", train_on: str = "train"
) -> list[str]:
    """Write a preset of four steps into a config folder; returns the words that choose it.

    Args:
        published: accuracy for 5-way 1-shot in %, and its interval.
        reruns: figures of independent re-runs, by source.
        train_on: the classes that the authors trained on.
    """
    file = folder / "experiment" / f"{NAME}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "# @package _global_\n"
        "defaults:\n"
        "  [override /algo: nearest_item, override /data: blobs, override /logger: none]\n"
        "steps: 4\nmeta_batch: 1\nqueries: 3\neval_every: 2\nval_episodes: 4\n"
        "test_episodes: 40\nbackbone: {filters: 8}\n"
        "quick_cells: {5way_1shot: {steps: 2}}\n"
        "published:\n"
        "  source: Nobody 2017, table 1\n"
        f"  inductive: {{5way_1shot: {published}}}\n"
        f"  reruns: {reruns}\n"
        f"  protocol: {{queries: 3, test_episodes: 40, train_on: {train_on}}}\n"
    )
    tree = f"hydra.searchpath=[file://{OWN}]"
    return ["--config-dir", str(folder), tree, f"experiment={NAME}"]
