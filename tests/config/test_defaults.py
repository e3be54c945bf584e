"""A default stands in a class's signature and in its YAML file: both say the same."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
import yaml

from metarun.config.groups import files

GROUPS = ("algo", "backbone", "optimizer", "augmentation", "data", "logger")
CHOICES = [(group, name) for group in GROUPS for name in files(group)]
VARIANTS = {  # keys in which a choice differs from the class that it shares with another
    ("algo", "fomaml"): {"first_order"},
    ("backbone", "conv4_maps"): {"pools"},
    ("backbone", "conv4_narrow"): {"filters", "downsample", "readout"},
    ("backbone", "conv4_strided"): {"downsample", "readout"},
    ("backbone", "mlp_regression"): {"hidden", "batch_norm"},
    ("data", "fc100"): {"split"},
}


def node_of(group: str, name: str) -> dict[str, Any]:
    node = yaml.safe_load(files(group)[name].read_text("utf-8"))
    node = node.get(group, node)
    node.pop("recommended", None)  # for other groups
    return node


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_a_files_values_are_the_defaults(group: str, name: str) -> None:
    node = node_of(group, name)
    module, _, target = node.pop("_target_").rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), target)).parameters
    keys = {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert node.keys() <= keys.keys()
    differ = set()
    for key, value in node.items():
        default = keys[key]
        if default is inspect.Parameter.empty:
            continue
        if isinstance(default, float) and isinstance(value, str):
            value = float(value)  # YAML 1.1 takes 1e-3 for a string
        if value != (list(default) if isinstance(default, tuple) else default):
            differ.add(key)
    assert differ == VARIANTS.get((group, name), set())
