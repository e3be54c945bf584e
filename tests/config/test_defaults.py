"""The defaults in a signature and in the YAML file are the same."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
import yaml

from metarun.config.groups import files
from metarun.config.schema import Start

GROUPS = ("algo", "backbone", "optimizer", "augmentation", "data", "logger")
CHOICES = [(group, name) for group in GROUPS for name in files(group)]
VARIANTS = {  # keys whose value in the file differs from the default of the class
    ("algo", "fomaml"): {"first_order"},
    ("algo", "melu"): {*("inner_lr", "test_inner_steps", "first_order", "batch_norm", "adapts")},
    ("algo", "meta_baseline"): {"distance", "temperature", "learn_temperature"},
    ("backbone", "efficientnet_lite0"): {"frozen"},
    ("backbone", "timm"): {"frozen"},
    ("backbone", "wordllama"): {"frozen"},
    ("backbone", "conv4_maps"): {"pools"},
    ("backbone", "conv4_narrow"): {"filters", "downsample", "readout"},
    ("backbone", "conv4_strided"): {"downsample", "readout"},
    ("backbone", "mlp_regression"): {"hidden", "batch_norm"},
    ("data", "fc100"): {"split"},
    ("data", "banking77"): {"tokens"},  # follows the backbone
    ("data", "clinc150"): {"tokens"},
    ("data", "text_table"): {"tokens"},
}


def node_of(group: str, name: str) -> dict[str, Any]:
    node = yaml.safe_load(files(group)[name].read_text("utf-8"))
    node = node.get(group, node)
    node.pop("recommended", None)  # keys of other groups
    return node


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_the_values_in_a_file_are_the_defaults(group: str, name: str) -> None:
    node = node_of(group, name)
    module, _, target = node.pop("_target_").rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), target)).parameters
    keys = {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    if group == "backbone":
        keys = {name: field.default for name, field in Start.model_fields.items()} | keys
    assert node.keys() <= keys.keys()
    differences = set()
    for key, value in node.items():
        default = keys[key]
        if default is inspect.Parameter.empty:
            continue
        if isinstance(default, float) and isinstance(value, str):
            value = float(value)  # in YAML 1.1, 1e-3 is a string
        if value != (list(default) if isinstance(default, tuple) else default):
            differences.add(key)
    assert differences == VARIANTS.get((group, name), set())
