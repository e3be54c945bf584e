"""Settings that depend on what was chosen, placed where Hydra merges them.

`conf/config.yaml` lists three layers beside the choices. `recommended` holds what the algorithm
recommends of other groups (`recommended` in `conf/algo`). `recommended_on_data` holds what it
recommends on the chosen data set and, under `any`, on every data set (`recommended.on_data`).
`cell` holds what a preset changes for its ways and shots (`cells`, and with `quick=true` also
`quick_cells`, in `conf/experiment`). A later entry of the defaults list overrides a layer, and so
does every key on the command line.

Keys of a group, such as `backbone.filters`, in a layer or in a file of another group are meant for
the choice of that group which the same file names (`override /backbone: conv4`). They are left out
where another one is chosen.
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

from metarun.config.published import cell_of, published_preset, table_of
from metarun.config.schema import GROUPS
from metarun.errors import Refused

Layers = dict[str, dict[str, Any]]  # name of a layer → dotted key → value
EMPTY: Layers = {"recommended": {}, "recommended_on_data": {}, "cell": {}}
TABLES = ("cells", "quick_cells", "published")  # of a preset's file


class Loader(ConfigLoaderImpl):
    """Hydra's loader with the layers: composes once, reads them, and composes with them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._layers: dict[tuple[str, ...], Layers] = {}  # of the last composition, by its choices
        self._chosen: dict[str, str] = {}  # group → choice, of the composition in progress
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

    def _compose_config_from_defaults_list(self, defaults: list[Any], repo: Any) -> DictConfig:
        self._chosen = {
            default.override_key: default.config_path.removeprefix(f"{default.override_key}/")
            for default in defaults
            if default.override_key in GROUPS and default.config_path
        }
        return super()._compose_config_from_defaults_list(defaults, repo)

    def _load_single_config(self, default: Any, repo: Any) -> Any:
        """Load a file without its settings of choices other than those of this composition."""
        loaded = super()._load_single_config(default, repo)
        for entry in filter(lambda entry: entry.is_override(), loaded.defaults_list or ()):
            group = entry.group.removeprefix("/")
            if group in GROUPS and self._chosen.get(group) not in (None, entry.value):
                _leave_out(group, loaded.config)
        return loaded

    def _first_guess(self, chosen: tuple[str, ...]) -> Layers:
        """The recommendations of a typed algorithm: one composition is enough without a preset."""
        choices = dict(word.split("=", 1) for word in chosen)
        file = self.repository.load_config(f"algo/{choices.get('algo')}")
        if file is None:
            return EMPTY
        node = file.config if "_target_" in file.config else OmegaConf.create({})
        return {**EMPTY, **_recommended(node, choices.get("data"))}

    def _store(self, layers: Layers) -> None:
        """Put the layers where Hydra looks for configs that are not files."""
        for name, values in layers.items():
            ConfigStore.instance().store(name=name, node=_node(values))


def _refuse_marked_headers(config_dir: Path) -> None:
    """Refuse files whose header Hydra would overlook, since a byte-order mark precedes it."""
    for group in GROUPS:
        for file in (config_dir / group).rglob("*.yaml"):
            if re.match(rb"\xef\xbb\xbf\s*#\s*@package", file.read_bytes()):
                raise Refused(f"{file}: starts with a byte-order mark; save it without one")


def _leave_out(group: str, config: DictConfig) -> None:
    """Remove the settings of a group from a file, and from its cells that name no choice."""
    config.pop(group, None)
    for table in ("cells", "quick_cells"):
        for cell in (config.get(table) or {}).values():
            if group not in cell:
                for key in [key for key in cell if key.startswith(f"{group}.")]:
                    cell.pop(key)


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
    recommended = _recommended(cfg.get("algo"), cfg.hydra.runtime.choices.get("data"))
    cell = cell_of(cfg.get("ways"), cfg.get("shots"))
    settings = dict(table_of(cfg, "cells").get(cell, {}))
    if cfg.get("quick") is True:
        settings |= _quick(table_of(cfg, "quick_cells"), cell)
    return {**recommended, "cell": settings}


def _recommended(algo: Any, data: str | None) -> Layers:
    """The layers with the recommendations in the node of an algorithm for a data set."""
    recommended = table_of(algo, "recommended") if isinstance(algo, DictConfig) else {}
    on_data = recommended.pop("on_data", {})
    specific = {**on_data.get("any", {}), **on_data.get(data, {})}
    return {"recommended": recommended, "recommended_on_data": specific}


def _quick(quick_cells: Mapping[str, dict[str, Any]], cell: str) -> dict[str, Any]:
    if not quick_cells:
        raise ConfigCompositionException("quick=true: needs a preset that has quick settings")
    if cell not in quick_cells:
        raise ConfigCompositionException(
            f"quick=true: no quick settings for {cell}; there are for {', '.join(quick_cells)}"
        )
    return quick_cells[cell]


def _conclude(cfg: DictConfig) -> None:
    """Replace the tables, which have been applied, by what is published for the cell."""
    preset = published_preset(cfg)
    with open_dict(cfg):
        for table in TABLES:
            cfg.pop(table, None)
        if isinstance(cfg.get("algo"), DictConfig):
            with open_dict(cfg.algo):
                cfg.algo.pop("recommended", None)
        if preset:
            cfg.preset = preset
