"""`config.yaml` holds the configuration as it was composed, and gives the same object back."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError

from metarun.config.compose import checked, compose, plain
from metarun.runs.config_file import MARK, RESUMABLE, amend, keep_config, load_config
from tests.conftest import OWN

COMPOSED = [
    [],
    ["algo=maml", "data=sinusoid", "logger=none", "tags=[a,'1']", "threads=2", "out=a: b"],
    ["data=omniglot", "data.root=here", "augmentation=images", "optimizer=sgd", "seed=7"],
    ["experiment=[demo,maml/omniglot]", "precision=float64"],
    ["algo=nearest_item", "data=blobs", "debug=tiny"],
]


@pytest.mark.parametrize("typed", COMPOSED, ids=" ".join)
def test_the_file_is_that_of_the_composed_dictionary(tmp_path: Path, typed: list[str]) -> None:
    """Not a byte depends on the object that the configuration was in meanwhile."""
    cfg = compose(typed, str(OWN))
    config = checked(cfg)
    keep_config(config, tmp_path)
    body, _, _ = (tmp_path / "config.yaml").read_bytes().rpartition(MARK.encode())
    composed = {**plain(cfg), "out": config.out}  # the time in it may be another
    assert body == OmegaConf.to_yaml(OmegaConf.create(composed)).encode()
    assert list(config.model_dump()) == [key for key in cfg if key != "hydra"]


@pytest.mark.parametrize("typed", COMPOSED, ids=" ".join)
def test_the_file_gives_the_same_configuration_back(tmp_path: Path, typed: list[str]) -> None:
    config = checked(compose(typed, str(OWN)))
    keep_config(config, tmp_path)
    assert amend(load_config(tmp_path, "run"), [], (), "resume", None) == config
    longer = amend(load_config(tmp_path, "run"), ["steps=12345"], RESUMABLE, "resume", None)
    assert longer == config.model_copy(update={"steps": 12345})


def test_nothing_changes_a_configuration() -> None:
    config = checked(compose([]))
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.choices.algo = "maml"
