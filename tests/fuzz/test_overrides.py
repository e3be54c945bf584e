"""For random overrides, metarun composes a configuration or prints one line for each mistake.

It never prints a traceback or hangs, and the exit code is 0 or 2. Runs stop before data is read.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from metarun import cli
from metarun.training import parts
from tests.conftest import OWN

TIMEOUT_SECONDS = 20  # a check takes less than a second

split = str.split  # for lists without quotes and commas
GROUPS = ("algo", "data", "backbone", "optimizer", "augmentation", "logger", "experiment", "debug")
CHOICES = split("""
    maml protonet reptile lstm glyphs omniglot sinusoid conv4 mlp resnet12 adam sgd none wandb tiny
    nearest_item blobs mamml null
""")
KEYS = split("""
    ways shots queries train_ways train_shots steps meta_batch eval_every log_every val_episodes
    test_episodes seed eval_seed device precision threads workers tags out data_home choices
    choices.algo algo.inner_lr algo.inner_steps algo.batch_norm algo.distance algo._target_
    data.root data.cache data.rotations data._target_ backbone.filters optimizer.lr optimizer.clip
    optimizer.schedule optimizer.betas logger.mode hydra.run.dir hydra.job.name hydra.searchpath
    hydra hydra.verbose hydra/launcher hydra.job_logging tags.0 algo.a.b.c.d nonsense _target_
""")
NUMBERS = st.one_of(
    st.integers(-3, 30),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**18, 10**400]),
    st.floats(),
).map(str)
TEXT = st.text(  # control characters except NUL, which a shell cannot pass
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=12
)
SYNTAX = split(r"""
    '' "" ' " [ ] { } {a:1} [1,2] [[[]]] {a:{b:[]}} null true ??? * : a:b = a=b \ \' $ ${ ${} ${.}
    ~ ~/x ../x a,b
""")
INTERPOLATIONS = split("""
    ${seed} ${ways} ${nonsense} ${..x} ${out} ${algo.inner_lr} ${shots ${oc.env:HOME}
    ${oc.env:NOT_THERE} ${oc.env:NOT_THERE,3} ${oc.env:} ${oc.decode:'1'} ${oc.decode:'['}
    ${oc.create:{a:1}} ${oc.select:seed} ${oc.deprecated:seed} ${oc.dict.keys:algo} ${nosuch:1}
    ${now:%Y} ${now:} ${hydra:runtime.cwd} ${hydra:nonsense} ${hydra:} ${choices.algo} ${algo}
""")
FUNCTIONS = split("""
    choice(1,2) choice(1) choice() range(3) range(1,9,0) interval(0,1) glob(*)
    glob([*],exclude=m*) int(3) int(x) float('nan') str([1]) bool(1) json_str({a:1}) sort(3,1)
    shuffle(1,2) tag(a,1) extend_list(a) os.system metarun.algorithms.maml.MAML metarun.cli.main
    builtins.eval metarun.cli.entry metarun.data.omniglot.Path metarun.errors.Refused
    metarun.config.instantiate.blueprint
""")
SPECIAL = st.sampled_from(["", "a b", *SYNTAX, *INTERPOLATIONS, *FUNCTIONS])
NESTED = st.integers(1, 60).flatmap(
    lambda n: st.sampled_from(["[" * n + "]" * n, "{a:" * n + "1" + "}" * n, "${" * n + "}" * n])
)
VALUES = st.one_of(NUMBERS, SPECIAL, SPECIAL, st.sampled_from(CHOICES), TEXT, NESTED)
NAMES = st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), st.sampled_from(GROUPS), TEXT)
WORDS = st.one_of(
    st.builds("{}{}={}".format, st.sampled_from(["", "", "", "", "+", "++", "~"]), NAMES, VALUES),
    st.builds("{}={}".format, st.sampled_from(GROUPS), st.sampled_from(CHOICES)),
    st.builds("~{}".format, NAMES),
    st.builds("{}@{}={}".format, st.sampled_from(GROUPS), NAMES, VALUES),
    TEXT,
)
VALID = st.sampled_from(
    split("""
    algo=maml algo=protonet algo=lstm algo=nearest_item data=blobs data=sinusoid backbone=mlp
    optimizer=sgd shots=2 ways=3 steps=1 algo.batch_norm=inductive optimizer.lr=1e-3 logger=none
    tags=[a,b] out=x/${seed} debug=tiny +debug=tiny threads=1 seed=${ways} ++seed=1
    """)
)
LISTS = st.one_of(
    st.lists(WORDS, max_size=5),
    st.tuples(st.lists(VALID, max_size=3), st.lists(WORDS, max_size=1)).map(
        lambda lists: [*lists[0], *lists[1]]
    ),
)
ENDS = st.sampled_from([[], [], [], ["--cfg", "job"], ["--cfg", "all"], ["--info", "defaults"]])


class Accepted(BaseException):
    """The request was accepted."""


@pytest.fixture(scope="module", autouse=True)
def stop_before_data_is_read() -> Iterator[None]:
    original = parts.plan

    def plan(*args: Any) -> dict[str, Any]:
        plans = original(*args)
        build = plans["data"]

        def without_loading() -> Any:
            data = build()
            data.load = stop
            return data

        return plans if build is None else {**plans, "data": without_loading}

    def stop() -> None:
        raise Accepted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "plan", plan)
        yield


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[list[str]], None]]:
    """Return a function that checks the answer to one request."""
    folder = tmp_path_factory.mktemp("empty")
    here = Path.cwd()
    os.chdir(folder)

    def time_out(*_: object) -> None:
        raise Accepted(f"no answer after {TIMEOUT_SECONDS} seconds")

    def check(words: list[str]) -> None:
        out, err = io.StringIO(), io.StringIO()
        previous = signal.signal(signal.SIGALRM, time_out)
        signal.alarm(TIMEOUT_SECONDS)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.main(words)
        except Accepted as accepted:
            assert not accepted.args, f"{words}: {accepted}"
            code = 0
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        lines = err.getvalue().splitlines()
        assert code in (0, 2), (words, code, lines)
        assert "Traceback" not in err.getvalue() + out.getvalue(), words
        assert code == 0 or lines, words
        assert all(line.startswith("metarun: ") for line in lines), (words, lines)
        assert all(len(line) < 2000 for line in lines), (words, lines)
        assert list(folder.iterdir()) == [], words

    yield check
    os.chdir(here)


def run(answer: Callable[[list[str]], None], words: list[str], end: list[str]) -> None:
    # Words that begin with a dash are flags; other tests cover them.
    words = [word for word in words if not word.startswith("-")]
    answer(
        ["train", *end, "--config-dir", str(OWN), "--", *words]
        if words
        else ["train", *end, "--cfg", "job"]
    )


# Examples are short enough to read, and shrinking takes too long.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
OPTIONS = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": WITHOUT_SHRINKING,
}


@settings(max_examples=25, **OPTIONS)
@given(LISTS, ENDS)
def test_any_request_gets_an_answer(answer, words, end) -> None:
    run(answer, words, end)


@pytest.mark.slow
@settings(max_examples=1000, **OPTIONS)
@given(LISTS, ENDS)
def test_a_thousand_requests_get_an_answer(answer, words, end) -> None:
    run(answer, words, end)
