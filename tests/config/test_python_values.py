"""Python values as overrides: Hydra reads the same value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.config_loader import ConfigLoader
from hypothesis import given
from hypothesis import strategies as st

from metarun.config.groups import hydra_for
from metarun.config.overrides import parse
from metarun.config.python_values import override
from metarun.errors import Refused

AWKWARD = st.text("ab '\"\\,=[]{}():.\n\t-0123enul%")
TEXT = (st.text() | AWKWARD).filter(lambda text: "${" not in text)  # an interpolation stays one
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT


@pytest.fixture(scope="module")
def loader() -> ConfigLoader:
    return hydra_for(None).config_loader


def read(loader: ConfigLoader, key: str, value: Any) -> Any:
    """What Hydra reads of the override."""
    (found,), mistakes = parse(loader, [override(key, value)])
    assert not mistakes
    return found.value()


@given(value=SCALARS | st.lists(SCALARS, max_size=4))
def test_hydra_reads_the_value_and_its_type(loader: ConfigLoader, value: Any) -> None:
    assert repr(read(loader, "algo.key", value)) == repr(value)


@given(path=TEXT)
def test_hydra_reads_the_path(loader: ConfigLoader, path: str) -> None:
    assert read(loader, "out", path) == path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("my runs/a,b"), "my runs/a,b"),
        (np.float64(0.1), 0.1),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (torch.tensor(3), 3),
        (np.array([1, 2]), [1, 2]),
        (("a", None), ["a", None]),
    ],
)
def test_paths_arrays_and_tuples(loader: ConfigLoader, value: Any, expected: Any) -> None:
    found = read(loader, "algo.key", value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("algo", "maml", "algo=maml"),
        ("experiment", "maml/omniglot", "experiment=maml/omniglot"),
        ("algo.inner_lr", 0.1, "algo.inner_lr=0.1"),
        ("tags", ["a", "5", "b c,d"], "tags=[a,'5','b c,d']"),
    ],
)
def test_values_are_written_as_a_person_types_them(key: str, value: Any, word: str) -> None:
    assert override(key, value) == word


@pytest.mark.parametrize("value", [{"a": 1}, object, 1j, [{1}]])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(Refused, match=r"^algo.key=.*: is a .*; should be None, a bool, a number"):
        override("algo.key", value)
