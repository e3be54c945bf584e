"""Order of the ranking, varied keys and seed groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metarun.report.entry import Stat
from metarun.tasks.headline import ACCURACY
from tests.report.folders import ranked, run
from tests.report.test_comparison import MAE, RETURN


def test_the_best_comes_first_and_runs_without_a_figure_last(sweep: Path) -> None:
    run(sweep / "0", mean=0.5)
    run(sweep / "1", mean=0.9)
    run(sweep / "2", status="failed", test=None, val=None, error="no luck")
    run(sweep / "3", mean=0.2, score="mse")
    run(sweep / "4", mean=0.1, score="mse")
    run(sweep / "5", status="interrupted", test=None)
    order = [e.name for e in ranked(sweep).entries]
    assert order == [
        "1",
        "0",
        "4",
        "3",
        "5",
        "2",
    ]  # accuracies first; of errors, the lowest is best


def test_each_score_is_ranked_in_its_own_direction(sweep: Path) -> None:
    for score, headline in (("return", RETURN), ("mae", MAE), ("mse", None), ("accuracy", None)):
        values = {"protocol": {"headline": headline.as_dict()}} if headline else {}
        run(sweep / f"{score} low", mean=0.1, score=score, **values)
        run(sweep / f"{score} high", mean=0.2, score=score, **values)
    ranking = ranked(sweep)
    assert [e.name for e in ranking.entries] == [
        "accuracy high",
        "accuracy low",
        "return high",
        "return low",
        "mae low",
        "mae high",
        "mse low",
        "mse high",
    ]
    assert [h.score for h in ranking.headlines] == ["accuracy", "return", "mae", "mse"]


@pytest.mark.parametrize("entry", [{"headline": ACCURACY.as_dict()}, {"engine": "vmap"}], ids=str)
def test_runs_with_and_without_an_entry_form_one_seed_group(
    sweep: Path, entry: dict[str, Any]
) -> None:
    older = {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "inductive"}
    run(sweep / "0", seed=0)
    run(sweep / "1", seed=1, protocol={**older, **entry})
    (group,) = ranked(sweep).groups
    assert group.seeds == [0, 1]


def test_typed_keys_with_different_values_are_varied_keys(sweep: Path) -> None:
    same = "metarun data=glyphs out=x hydra.sweep.dir=y"
    run(sweep / "0", command=f"{same} steps=1 algo=maml", config={"steps": 1})
    run(sweep / "1", command=f"{same} steps=5 +tags=[a]", config={"steps": 5})
    ranking = ranked(sweep)
    assert ranking.varied == ["steps", "algo", "tags"]
    assert [ranking.value(e, "steps") for e in ranking.entries] == ["1", "5"]
    assert [ranking.value(e, "algo") for e in ranking.entries] == ["maml", "–"]


def test_a_key_typed_for_one_run_has_the_configured_value_in_others(sweep: Path) -> None:
    run(sweep / "0", mean=0.8, command="metarun algo.lr=0.10", config={"algo": {"lr": 0.1}})
    run(sweep / "1", mean=0.7, command="metarun", config={"algo": {"lr": 0.5}})
    ranking = ranked(sweep)
    assert ranking.varied == ["algo.lr"]
    assert [ranking.value(e, "algo.lr") for e in ranking.entries] == ["0.1", "0.5"]


def test_the_first_of_two_runs_with_the_same_seed_counts(sweep: Path) -> None:
    run(sweep / "0", seed=0, mean=0.5)
    run(sweep / "1", seed=0, mean=0.9)  # on another machine, say
    run(sweep / "2", seed=1, mean=0.7)
    (group,) = ranked(sweep).groups
    assert [e.name for e in group.entries] == ["0", "2"]
    assert group.test.mean == pytest.approx(0.6)


def test_a_single_run_has_no_varied_keys(sweep: Path) -> None:
    ranking = ranked(run(sweep / "0"))
    assert ranking.varied == ranking.differing == []
    assert ranking.entries[0].test == Stat(0.9, 0.01)


def test_an_unreadable_run_adds_no_varied_keys(sweep: Path) -> None:
    run(sweep / "0", command="metarun algo.lr=1")
    run(sweep / "1", command="metarun algo.lr=1")
    (sweep / "1/result.json").write_text("{")
    assert ranked(sweep).varied == []


def test_without_a_configuration_the_command_defines_the_setting(sweep: Path) -> None:
    for seed in (0, 1):
        run(sweep / str(seed), seed=seed, command=f"metarun algo.lr={seed} seed={seed}")
    assert ranked(sweep).groups == []


def test_the_title_omits_facts_that_have_a_column(sweep: Path) -> None:
    """One run failed before it had facts: the algorithm of the other is not in the title."""
    run(sweep / "0", command="metarun algo=protonet")
    refused = {"status": "failed", "test": None, "val": None, "protocol": None}
    run(sweep / "1", **refused, run={"command": "metarun algo=mamml"})
    assert ranked(sweep).shared == "glyphs, 5-way 1-shot, inductive batch norm"


def with_validation(mean: float | None, **values: Any) -> dict[str, Any]:
    """Values of a run whose validation figure differs from its test figure."""
    val = {"best_step": 5, "accuracy": {"mean": mean, "ci95": 0.01}}
    return {"val": None if mean is None else val, **values}


def test_validation_orders_the_runs_of_one_task(sweep: Path) -> None:
    for i, (test, val) in enumerate([(0.9, 0.5), (0.7, 0.8), (0.8, 0.6)]):
        run(sweep / str(i), mean=test, **with_validation(val))
    ranking = ranked(sweep)
    assert [e.name for e in ranking.entries] == ["1", "2", "0"]
    assert ranking.criterion == "ranked by validation"


def test_the_first_of_runs_with_equal_validation_comes_first(sweep: Path) -> None:
    """As in a search; the test figure decides nothing."""
    run(sweep / "0", mean=0.7, **with_validation(0.8))
    run(sweep / "1", mean=0.9, **with_validation(0.8))
    assert [e.name for e in ranked(sweep).entries] == ["0", "1"]


def test_the_test_orders_runs_of_which_one_has_no_validation(sweep: Path) -> None:
    for i, (test, val) in enumerate([(0.7, 0.8), (0.9, 0.5), (0.8, None)]):
        run(sweep / str(i), mean=test, **with_validation(val))
    ranking = ranked(sweep)
    assert [e.name for e in ranking.entries] == ["1", "2", "0"]
    assert ranking.criterion == "ranked by test"


def test_runs_of_one_task_are_together(sweep: Path) -> None:
    """The highest figure of a task with more shots is not compared with those of fewer."""
    for i, (shots, val) in enumerate([(1, 0.6), (5, 0.9), (1, 0.7), (5, 0.5)]):
        protocol = {"data": "glyphs", "ways": 5, "shots": shots, "batch_norm": "inductive"}
        run(sweep / str(i), protocol=protocol, **with_validation(val))
    ranking = ranked(sweep)
    assert [e.name for e in ranking.entries] == ["1", "3", "2", "0"]
    assert ranking.criterion == "each task ranked by validation"


def test_equal_names_of_other_data_are_another_task(sweep: Path) -> None:
    for i in range(2):
        protocol = {"data": "x", "ways": 5, "shots": 1, "split_sha256": str(i)}
        run(sweep / str(i), protocol=protocol)
    assert len(ranked(sweep).by_validation) == 2


def test_seed_groups_are_ordered_by_validation(sweep: Path) -> None:
    for i, (lr, test, val) in enumerate([(1, 0.9, 0.5), (2, 0.6, 0.7)]):
        for seed in range(2):
            command = f"metarun algo.lr={lr} seed={seed}"
            config = {"algo": {"lr": lr}, "seed": seed}
            values = with_validation(val + seed / 100, seed=seed, command=command, config=config)
            run(sweep / f"{i}{seed}", mean=test, **values)
    ranking = ranked(sweep)
    assert [group.test.mean for group in ranking.groups] == pytest.approx([0.6, 0.9])
    assert [group for group, _ in ranking.lines] == ranking.groups


def test_a_lower_validation_error_is_better(sweep: Path) -> None:
    for i, (test, val) in enumerate([(0.1, 0.4), (0.3, 0.2)]):
        run(sweep / str(i), mean=test, score="mse", val={"mse": {"mean": val, "ci95": 0.01}})
    assert [e.name for e in ranked(sweep).entries] == ["1", "0"]


def test_equal_data_of_another_name_is_the_same_task(sweep: Path) -> None:
    """A folder of own pictures was renamed."""
    for name in ("pets", "moved"):
        own = {"data": "image_folder", "data_name": name, "split_sha256": "1"}
        run(sweep / name, protocol=own | {"ways": 2, "shots": 1})
    assert len(ranked(sweep).by_validation) == 1
