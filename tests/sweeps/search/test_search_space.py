"""Ranges in the overrides of a search become dimensions, or a line says why they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.config.groups import hydra_for
from metarun.config.overrides import parse
from metarun.errors import Refused
from metarun.sweeps.search.search_space import Dimension, Space, read_space

LOADER = hydra_for(None).config_loader


def read(*words: str, integer_keys: tuple[str, ...] = ()) -> Space:
    overrides, mistakes = parse(LOADER, words, sweep=True)
    assert not mistakes
    return read_space(overrides, integer_keys)


@pytest.mark.parametrize(
    ("word", "dimension"),
    [
        ("a=interval(0.1,2)", Dimension("a", 0.1, 2.0)),
        ("a=interval(1,5)", Dimension("a", 1.0, 5.0)),
        ("a=int(interval(1,5))", Dimension("a", 1, 5)),
        ("a=tag(log,interval(1e-4,1))", Dimension("a", 1e-4, 1.0, log=True)),
        ("a=tag(log,int(interval(1,64)))", Dimension("a", 1, 64, log=True)),
        ("a=range(1,6)", Dimension("a", 1, 5, 1)),
        ("a=range(6,1,-2)", Dimension("a", 2, 6, 2)),
        ("a=shuffle(range(4))", Dimension("a", 0, 3, 1)),
        ("a=range(0,1,0.3)", Dimension("a", 0.0, 0.9, 0.3)),
        ("a=x,y", Dimension("a", choices=("x", "y"))),
        ("a=shuffle(x,y,x)", Dimension("a", choices=("x", "y"))),
        ("a=choice(true,'b c',[1,2])", Dimension("a", choices=("True", r"b\ c", "[1,2]"))),
        ("+a.b=null,1", Dimension("+a.b", choices=("null", "1"))),
    ],
)
def test_a_range_is_a_dimension(word: str, dimension: Dimension) -> None:
    assert read(word).overrides == (dimension,)


def test_an_interval_of_an_integer_key_holds_integers() -> None:
    assert read("a=interval(1,5)", integer_keys=("a",)).dimensions == [Dimension("a", 1, 5)]
    assert read("a=interval(1,5.5)", integer_keys=("a",)).dimensions == [Dimension("a", 1.0, 5.5)]


def test_overrides_keep_their_order_and_one_choice_is_not_a_dimension() -> None:
    space = read("algo=maml", "a=1,2", "algo.inner_lr=choice(0.1)", "b=range(3,4)")
    assert space.overrides_for({"a": "2"}) == ["algo=maml", "a=2", "algo.inner_lr=0.1", "b=3"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("a=interval(2,1)", "should run from a number to a larger one"),
        ("a=interval(0,inf)", "should run from a number to a larger one"),
        ("a=tag(log,interval(0,1))", "on a log scale it should begin above 0"),
        ("a=tag(log,choice(1,2))", "log is for an interval"),
        ("a=tag(log,range(1,9))", "log is for an interval"),
        ("a=tag(logarithmic,interval(1,2))", "tag logarithmic: the only tag is log"),
        ("a=range(1,5,0)", "a step that is not 0"),
        ("a=range(5,1)", "has no value in it"),
        ("a=range(0,inf)", "a step that is not 0"),
        ("algo=glob(m*)", "list the choices: algo=A,B"),
        ("seed=0,1", "the best of several seeds is the luckiest"),
        ("ways=2,5", "trials would be validated on different tasks"),
        ("data=glyphs,omniglot", "trials would be validated on different tasks"),
        ("data.noise=interval(1,2)", "trials would be validated on different tasks"),
        ("experiment=a,b", "trials would be validated on different tasks"),
        ("algo.batch_norm=inductive,transductive", "is part of the protocol"),
        ("eval_every=range(1,9)", "takes its best score from more validations"),
        ("algo=maml", "nothing is searched over"),
        ("a=choice(1)", "nothing is searched over"),
    ],
)
def test_an_invalid_range_is_reported_in_one_line(word: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read(word)
    assert len(refused.value.mistakes) == 1
    assert reason in refused.value.mistakes[0]


def test_all_mistakes_are_reported() -> None:
    with pytest.raises(Refused) as refused:
        read("a=interval(2,1)", "seed=0,1", "b=range(0,0)")
    assert [line.partition(":")[0] for line in refused.value.mistakes] == [
        "a=interval(2,1)",
        "seed",
        "b=range(0,0)",
    ]


@given(
    low=st.floats(1e-6, 1e6),
    factor=st.floats(1.01, 1e6),
    where=st.floats(0, 1),
)
def test_a_rounded_value_is_in_the_interval_and_close(
    low: float, factor: float, where: float
) -> None:
    high = low * factor
    value = min(high, low + where * (high - low))
    text = Dimension("a", low, high).override_for(value).removeprefix("a=")
    assert low <= float(text) <= high
    assert float(text) == pytest.approx(value, rel=1e-5)
    assert not parse(LOADER, [f"a={text}"])[1]


@given(st.integers(-50, 50), st.integers(1, 30), st.integers(1, 60))
def test_a_range_has_the_values_of_hydra(start: int, step: int, length: int) -> None:
    """Steps of tenths show rounding errors: the value must be 0.3, not 0.30000000000000004."""
    word = f"a=range({start / 10},{(start + length) / 10},{step / 10})"
    override = parse(LOADER, [word], sweep=True)[0][0]
    expected = [start / 10 + 0.0]
    while len(expected) * step < length:
        expected.append((start + len(expected) * step) / 10)
    if len(expected) == 1:
        with pytest.raises(Refused, match="nothing is searched over"):
            read_space([override])
        return
    (d,) = read_space([override]).dimensions
    values = [d.low + i * d.step for i in range(len(expected))]
    assert [float(d.override_for(v).removeprefix("a=")) for v in values] == expected
