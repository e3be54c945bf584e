"""`config.yaml` holds the composed configuration and is read back to an equal object."""

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
def test_the_file_equals_the_composed_configuration(tmp_path: Path, typed: list[str]) -> None:
    """The conversion to `RunConfig` does not change a byte of the file."""
    cfg = compose(typed, str(OWN))
    config = checked(cfg)
    keep_config(config, tmp_path)
    body, _, _ = (tmp_path / "config.yaml").read_bytes().rpartition(MARK.encode())
    composed = {**plain(cfg), "out": config.out}  # contains the time of composition
    assert body == OmegaConf.to_yaml(OmegaConf.create(composed)).encode()
    assert list(config.model_dump()) == [key for key in cfg if key != "hydra"]


@pytest.mark.parametrize("typed", COMPOSED, ids=" ".join)
def test_the_file_is_read_back_to_an_equal_configuration(tmp_path: Path, typed: list[str]) -> None:
    config = checked(compose(typed, str(OWN)))
    keep_config(config, tmp_path)
    assert amend(load_config(tmp_path, "run"), [], (), "resume", None) == config
    longer = amend(load_config(tmp_path, "run"), ["steps=12345"], RESUMABLE, "resume", None)
    assert longer == config.model_copy(update={"steps": 12345})


def test_a_configuration_is_frozen() -> None:
    config = checked(compose([]))
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.choices.algo = "maml"
