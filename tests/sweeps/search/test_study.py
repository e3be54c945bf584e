"""The trials of a search are those of Optuna, and survive a killed process."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.errors import Refused
from metarun.sweeps.search.journal import _drop_incomplete_line
from metarun.sweeps.search.samplers import Settings
from metarun.sweeps.search.search_space import Dimension, Space
from metarun.sweeps.search.study import JOURNAL, LOCK, Study

DIMENSIONS = (
    Dimension("lr", 1e-3, 1.0, log=True),
    Dimension("steps", 1, 5),
    Dimension("algo", choices=("maml", "fomaml")),
)
SPACE = Space(("shots=5", *DIMENSIONS))
REPORT = b'{"op_code":7,"worker_id":"x","trial_id":1,"step":%s}'


def settings_with(**changes: object) -> Settings:
    defaults = dict(
        trials=20, sampler="tpe", pruner="median", warmup_trials=5, warmup_steps=0, seed=0
    )
    return Settings.checked({**defaults, **changes})


def objective(lr: float, steps: int, algo: str) -> float:
    return -((math.log10(lr) + 1.5) ** 2) - (steps - 3) ** 2 / 10 + (algo == "maml") / 5


def search(folder: Path, trials: int, chosen: Settings) -> list[dict[str, object]]:
    """Run a search that opens the journal again for each trial; return the values."""
    all_values = []
    for number in range(trials):
        study = Study(folder, SPACE, chosen)
        values = study.values(number)
        study.tell(number, "COMPLETE", objective(**values))
        all_values.append(values)
    return all_values


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_trials_are_those_of_an_optuna_study(tmp_path: Path, sampler: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direct = optuna.create_study(direction="maximize")
    expected = []
    for number in range(14):  # the first 10 are random
        seed = int(np.random.SeedSequence((7, number)).generate_state(1)[0])
        kind = optuna.samplers.TPESampler if sampler == "tpe" else optuna.samplers.RandomSampler
        direct.sampler = kind(seed=seed)
        trial = direct.ask()
        values = {
            "lr": trial.suggest_float("lr", 1e-3, 1.0, log=True),
            "steps": trial.suggest_int("steps", 1, 5),
            "algo": trial.suggest_categorical("algo", ("maml", "fomaml")),
        }
        direct.tell(trial, objective(**values))
        expected.append(values)
    assert search(tmp_path, 14, settings_with(sampler=sampler, seed=7)) == expected
    assert len({values["lr"] for values in expected}) == 14
    assert Study(tmp_path, SPACE, settings_with()).best().params == direct.best_params


def test_another_seed_gives_other_values(tmp_path: Path) -> None:
    a, b, c = (
        search(tmp_path / n, 2, settings_with(seed=s)) for n, s in (("a", 1), ("b", 2), ("c", 1))
    )
    assert a == c != b


def test_a_started_trial_keeps_its_values(tmp_path: Path) -> None:
    first = Study(tmp_path, SPACE, settings_with()).values(3)
    again = Study(tmp_path, SPACE, settings_with(seed=9))
    assert again.values(3) == first
    assert [again.state(i) for i in range(5)] == ["WAITING"] * 3 + ["RUNNING", "WAITING"]


@given(
    scores=st.lists(st.lists(st.integers(0, 100), min_size=3, max_size=3), min_size=3, max_size=6),
    warmup=st.integers(1, 4),
    warmup_steps=st.integers(0, 25),
)
@settings(max_examples=15, deadline=None)
def test_the_median_pruner_ends_trials_below_the_median(
    tmp_path_factory: pytest.TempPathFactory,
    scores: list[list[int]],
    warmup: int,
    warmup_steps: int,
) -> None:
    """The rule in the documentation of Optuna, implemented here again."""
    folder = tmp_path_factory.mktemp("search")
    chosen = settings_with(warmup_trials=warmup, warmup_steps=warmup_steps)
    study, finished = Study(folder, SPACE, chosen), []
    for number, trial_scores in enumerate(scores):
        study.values(number)
        best, reported = -math.inf, {}
        for step, score in zip((10, 20, 30), trial_scores, strict=True):
            study.report(number, step, float(score))
            reported[step] = score
            best = max(best, score)
            others = [scores[step] for scores in finished]
            ready = len(finished) >= warmup and step >= max(warmup_steps, 1)
            is_below = bool(others) and best < np.percentile(others, 50)
            assert study.should_prune(number, 10) == (ready and is_below)
        study.tell(number, "COMPLETE", float(best))
        finished.append(reported)


def test_halving_keeps_the_best_quarter_so_far(tmp_path: Path) -> None:
    """Asynchronous, as in Li et al. (2020): no trial waits for the others of its rung."""
    study = Study(tmp_path, SPACE, settings_with(pruner="halving"))
    scores = [5, 4, 6, 9, 1, 8, 2, 7, 8.5]
    for number, score in enumerate(scores):
        study.values(number)
        study.report(number, 10, float(score))
        ranked = sorted(scores[: number + 1], reverse=True)
        quarter = ranked[: max(1, len(ranked) // 4)]
        assert study.should_prune(number, 10) == (score not in quarter)
        study.report(number, 20, 0.0)  # no decision between steps 10 and 4 × 10
        assert not study.should_prune(number, 10)


def test_without_a_pruner_no_trial_ends_early(tmp_path: Path) -> None:
    study = Study(tmp_path, SPACE, settings_with(pruner="none", warmup_trials=0))
    for number, score in enumerate((1.0, 0.0)):
        study.values(number)
        study.report(number, 10, score)
    assert not study.should_prune(1, 10)


def test_one_process_at_a_time_can_claim_a_trial(tmp_path: Path) -> None:
    a, b = (Study(tmp_path, SPACE, settings_with()) for _ in "ab")
    with a.claim(3) as first, b.claim(3) as second, b.claim(4) as other:
        assert (first, second, other) == (True, False, True)
    with b.claim(3) as claimed:
        assert claimed


@given(st.binary(min_size=1, max_size=60).filter(lambda b: b"\n" not in b))
def test_only_an_incomplete_last_line_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, incomplete: bytes
) -> None:
    file = tmp_path_factory.mktemp("journal") / "j"
    for whole in (b"", b'{"a": 1}\n', b'{"a": 1}\n{"b": 2}\n'):
        file.write_bytes(whole + incomplete)
        _drop_incomplete_line(file)
        assert file.read_bytes() == whole
        _drop_incomplete_line(file)
        assert file.read_bytes() == whole


def test_a_search_can_be_resumed_after_any_cut_of_its_journal(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", 4, settings_with())
    journal = (tmp_path / "whole/search/trials.jsonl").read_bytes()
    for cut in range(0, len(journal), 211):
        folder = tmp_path / str(cut)
        (folder / "search").mkdir(parents=True)
        (folder / "search/trials.jsonl").write_bytes(journal[:cut])
        study = Study(folder, SPACE, settings_with())
        for number in range(4):
            trials = study.trials()
            saved = trials[number].params if number < len(trials) else {}
            assert saved.items() <= whole[number].items()
            values = study.values(number)
            assert saved.items() <= values.items() and len(values) == 3
            if study.state(number) == "RUNNING":
                study.tell(number, "COMPLETE", objective(**values))
        assert study.best().value == max(objective(**study.values(n)) for n in range(4))
        assert all(map(json.loads, (folder / "search/trials.jsonl").read_text().splitlines()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:3], b"\0" * 40, *lines[3:]],
        lambda lines: [*lines, b"not json"],
        lambda lines: [*lines, b"[1]"],
        lambda lines: [*lines, b"[" * 100_000],
        lambda lines: [*lines, b'{"op_code": 77}'],
        lambda lines: [*lines, b'{"op_code": 4}'],
        lambda lines: [*lines, b'{"op_code": "x", "worker_id": 3}'],
        lambda lines: [x.replace(b'"directions":[2]', b'"directions":[1]') for x in lines],
        lambda lines: [x.replace(b'"high\\": 1.0', b'"high\\": 9.0') for x in lines],
        lambda lines: [x.replace(b'"maml', b'"hydra') for x in lines],
        lambda lines: [x.replace(b'"param_name":"lr"', b'"param_name":"out"') for x in lines],
        lambda lines: [re.sub(rb'"values":\[[^]]*\]', b'"values":null', x) for x in lines],
        lambda lines: [re.sub(rb'"values":\[[^]]*\]', b'"values":["a"]', x) for x in lines],
        lambda lines: [re.sub(rb'"values":\[[^]]*\]', b'"values":[1,2]', x) for x in lines],
        lambda lines: [x for x in lines if b'"param_name":"lr"' not in x],
        lambda lines: [*lines[:-1], REPORT % b'"1","intermediate_value":0.5', lines[-1]],
        lambda lines: [*lines[:-1], REPORT % b'1,"intermediate_value":"a"', lines[-1]],
        lambda lines: [x.replace(b'value_internal":', b'value_internal":99') for x in lines],
    ],
)
def test_a_damaged_or_other_journal_is_refused_and_not_changed(
    tmp_path: Path, damage: object
) -> None:
    search(tmp_path, 2, settings_with())
    file = tmp_path / "search/trials.jsonl"
    original = file.read_bytes()
    file.write_bytes(b"\n".join(damage(original.splitlines())) + b"\n")
    changed = file.read_bytes()
    assert changed != original
    with pytest.raises(Refused) as refused:
        Study(tmp_path, SPACE, settings_with())
    (line,) = refused.value.mistakes
    assert line.startswith(str(file))
    assert file.read_bytes() == changed


@pytest.mark.parametrize("name", ["", LOCK, JOURNAL])
def test_links_in_the_folder_of_a_search_are_not_followed(tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    (target.mkdir if not name else target.touch)()
    (tmp_path / "sweep").mkdir()
    if name:
        (tmp_path / "sweep/search").mkdir()
    (tmp_path / "sweep/search" / name).symlink_to(target)
    with pytest.raises(Refused, match="is a link"):
        Study(tmp_path / "sweep", SPACE, settings_with())


def test_a_pipe_is_refused_as_a_journal(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    os.mkfifo(tmp_path / "search/trials.jsonl")
    with pytest.raises(Refused):
        Study(tmp_path, SPACE, settings_with())


def test_a_killed_process_does_not_block_the_others(tmp_path: Path) -> None:
    """A process is killed while it holds the lock: no other process waits, no trial is lost."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from tests.sweeps.search.test_study import SPACE, settings_with\n"
        "from metarun.sweeps.search.study import Study\n"
        "study = Study(Path(sys.argv[1]), SPACE, settings_with())\nstudy.values(0)\n"
        "with study.claim(1), study.lock:\n"
        "    with open(study.folder / 'trials.jsonl', 'ab') as file:\n"
        '        file.write(b\'{"op_code":4,"tr\')\n'
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=Path(__file__).parents[3])
    assert killed.returncode == -9
    study = Study(tmp_path, SPACE, settings_with())
    with study.claim(1) as claimed:
        assert claimed
        assert study.values(0)
        assert [study.state(0), study.state(1)] == ["RUNNING", "WAITING"]


def test_processes_share_a_search_and_run_each_trial_once(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from tests.sweeps.search.test_study import SPACE, objective, settings_with\n"
        "from metarun.sweeps.search.study import Study\n"
        "for number in range(16):\n"
        "    study = Study(Path(sys.argv[1]), SPACE, settings_with())\n"
        "    with study.claim(number) as claimed:\n"
        "        if claimed and study.state(number) == 'WAITING':\n"
        "            values = study.values(number)\n"
        "            print(number, flush=True)\n"
        "            time.sleep(0.02)\n"
        "            study.tell(number, 'COMPLETE', objective(**values))\n"
    )
    argv, root = [sys.executable, "-c", code, str(tmp_path)], Path(__file__).parents[3]
    processes = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) for _ in "ab"]
    done = [int(n) for process in processes for n in process.communicate(timeout=60)[0].split()]
    assert sorted(done) == list(range(16))
    study = Study(tmp_path, SPACE, settings_with())
    assert {study.state(n) for n in range(16)} == {"COMPLETE"}
    assert len({t.params["lr"] for t in study.trials()}) == 16


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trials": 0}, "hydra.sweeper.trials=0: should be greater than or equal to 1"),
        ({"sampler": "grid"}, "hydra.sweeper.sampler=grid: should be 'tpe' or 'random'"),
        ({"pruner": None}, "hydra.sweeper.pruner=null: should be 'median', 'halving' or 'none'"),
        ({"seed": 1.5}, "hydra.sweeper.seed=1.5: should be a valid integer"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], line: str) -> None:
    with pytest.raises(Refused) as refused:
        settings_with(**changes)
    assert refused.value.mistakes == [line]
