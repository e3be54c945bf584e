"""Settings that depend on what was chosen, placed where Hydra merges them.

`conf/config.yaml` lists three layers beside the choices. `recommended` holds what the algorithm
recommends of other groups (`recommended` in `conf/algo`). `recommended_on_data` holds what it
recommends on the chosen data set and, under `any`, on every data set (`recommended.on_data`).
`cell` holds what a preset changes for its ways and shots (`cells`, and with `quick=true` also
`quick_cells`, in `conf/experiment`). A later entry of the defaults list overrides a layer, and so
does every key on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict

from metarun.config.schema import GROUPS, PLACES
from metarun.errors import Refused

Layers = dict[str, dict[str, Any]]  # name of a layer → dotted key → value
EMPTY: Layers = {"recommended": {}, "recommended_on_data": {}, "cell": {}}
TABLES = ("cells", "quick_cells", "published")  # of a preset's file
BATCH_NORMS = ("transductive", "inductive", "unstated")  # tables of published figures
KEEP_THE_SETTING = (  # words that leave a run comparable with the published figure
    *("experiment=", "ways=", "shots=", "quick=", "seed=", "eval_seed=", "device=", "threads="),
    *("workers=", "engine=", "tasks_at_once=", "out=", "tags=", "logger", "log_every=", "audit="),
    *("data_home=", "eval_every=", "val_episodes=", *(f"{key}=" for key in PLACES)),
)


class Loader(ConfigLoaderImpl):
    """Hydra's loader with the layers: composes once, reads them, and composes with them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._layers: dict[tuple[str, ...], Layers] = {}  # of the last composition, by its choices
        self._store(EMPTY)
        for source in self.get_sources():
            if source.provider == "command-line":
                _refuse_marked_headers(Path(source.path))

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        """Compose a configuration; see Hydra's `ConfigLoader`.

        Raises:
            ConfigCompositionException: also where `quick=true` has no settings to select.
        """
        chosen = tuple(word for word in overrides if word.partition("=")[0] in GROUPS)
        layers = self._layers.get(chosen) or self._first_guess(chosen)
        for _ in range(2):
            self._store(layers)
            cfg = super().load_configuration(config_name, overrides, *args, **kwargs)
            if (fitting := _layers_of(cfg)) == layers:
                break
            layers = fitting
        self._layers[chosen] = layers
        _conclude(cfg)
        return cfg

    def _first_guess(self, chosen: tuple[str, ...]) -> Layers:
        """The recommendations of a typed algorithm: one composition is enough without a preset."""
        choices = dict(word.split("=", 1) for word in chosen)
        file = self.repository.load_config(f"algo/{choices.get('algo')}")
        if file is None:
            return EMPTY
        node = file.config if "_target_" in file.config else OmegaConf.create({})
        return {**EMPTY, **_recommended(node, choices)}

    def _store(self, layers: Layers) -> None:
        """Put the layers where Hydra looks for configs that are not files.

        In the process of a launcher, the pickled sources have a store of their own.
        """
        stores = [s.store for s in self.get_sources() if s.scheme() == "structured"]
        for store in (ConfigStore.instance(), *stores):
            for name, values in layers.items():
                store.store(name=name, node=_node(values))


def _refuse_marked_headers(config_dir: Path) -> None:
    """Refuse files whose header Hydra would overlook, since a byte-order mark precedes it."""
    for group in GROUPS:
        for file in (config_dir / group).rglob("*.yaml"):
            if re.match(rb"\xef\xbb\xbf\s*#\s*@package", file.read_bytes()):
                raise Refused(f"{file}: starts with a byte-order mark; save it without one")


def cell_of(ways: Any, shots: Any) -> str:
    """The name of a cell in a preset's tables, such as `5way_1shot`, or `10shot` without ways."""
    return f"{ways}way_{shots}shot" if ways != 1 else f"{shots}shot"


def _node(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config with these dotted keys; those that are groups become entries of its defaults."""
    node: dict[str, Any] = {}
    for key, value in values.items():
        if key in GROUPS:
            node.setdefault("defaults", ["_self_"]).append({f"override /{key}": value})
            continue
        *parents, last = key.split(".")
        inner = node
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return node


def _layers_of(cfg: DictConfig) -> Layers:
    recommended = _recommended(cfg.get("algo"), cfg.hydra.runtime.choices)
    cell = cell_of(cfg.get("ways"), cfg.get("shots"))
    settings = dict(_table(cfg, "cells").get(cell, {}))
    if cfg.get("quick") is True:
        settings |= _quick(_table(cfg, "quick_cells"), cell)
    return {**recommended, "cell": settings}


def _recommended(algo: Any, choices: Mapping[str, Any]) -> Layers:
    """The layers with the recommendations in the node of an algorithm.

    A recommended key of a group, such as `backbone.hidden`, is for the choice of the group that is
    recommended with it, if there is one. It is left out where another one is chosen.

    Args:
        choices: the choice of each group, as far as it is known.
    """
    recommended = _table(algo, "recommended") if isinstance(algo, DictConfig) else {}
    on_data = recommended.pop("on_data", {})
    specific = {**on_data.get("any", {}), **on_data.get(choices.get("data"), {})}
    named = {**recommended, **specific}

    def applies(key: str) -> bool:
        group = key.partition(".")[0]
        chosen = choices.get(group)
        return group == key or chosen in (None, named.get(group, chosen))

    tables = {"recommended": recommended, "recommended_on_data": specific}
    return {name: {k: v for k, v in t.items() if applies(k)} for name, t in tables.items()}


def _quick(quick_cells: Mapping[str, dict[str, Any]], cell: str) -> dict[str, Any]:
    if not quick_cells:
        raise ConfigCompositionException("quick=true: needs a preset that has quick settings")
    if cell not in quick_cells:
        raise ConfigCompositionException(
            f"quick=true: no quick settings for {cell}; there are for {', '.join(quick_cells)}"
        )
    return quick_cells[cell]


def _table(cfg: DictConfig, key: str, resolve: bool = False) -> dict[str, Any]:
    node = OmegaConf.select(cfg, key)
    return OmegaConf.to_container(node, resolve=resolve) if isinstance(node, DictConfig) else {}


def _conclude(cfg: DictConfig) -> None:
    """Replace the tables, which have been applied, by what is published for the cell."""
    preset = _preset(cfg)
    with open_dict(cfg):
        for table in TABLES:
            cfg.pop(table, None)
        if isinstance(cfg.get("algo"), DictConfig):
            with open_dict(cfg.algo):
                cfg.algo.pop("recommended", None)
        if preset:
            cfg.preset = preset


def _preset(cfg: DictConfig) -> dict[str, Any] | None:
    """The node `preset`; `None` without published figures, or with other data or algorithm."""
    choices, published = cfg.hydra.runtime.choices, _table(cfg, "published", resolve=True)
    experiments = choices.get("experiment")
    experiments = [experiments] if isinstance(experiments, str) else list(experiments or ())
    name = f"{choices.get('algo')}/{choices.get('data')}"
    if not published or name not in experiments:
        return None
    cell = cell_of(cfg.get("ways"), cfg.get("shots"))
    tables = {key: published[key] for key in BATCH_NORMS if key in published}
    batch_norm = OmegaConf.select(cfg, "algo.batch_norm")
    batch_norm = batch_norm if batch_norm in tables else next(iter(tables))
    figure = tables[batch_norm].get(cell)
    quick = _table(cfg, "quick_cells").get(cell, {}) if cfg.get("quick") is True else {}
    changes = [f"{key}={value}" for key, value in quick.items()] + list(cfg.hydra.overrides.task)
    return {
        "experiment": name,
        "cell": cell,
        "published": None if figure is None else dict(zip(("mean", "ci95"), figure, strict=False)),
        "score": published.get("score", "accuracy"),
        "source": published["source"],
        "protocol": {"batch_norm": batch_norm, **published.get("protocol", {})},
        "notes": published.get("notes", []),
        "changes": [word for word in changes if not word.lstrip("+").startswith(KEEP_THE_SETTING)],
    }
