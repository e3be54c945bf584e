"""Choice of the engine that computes inner loops, and checks whether it can."""

from __future__ import annotations

from importlib.util import find_spec

from metarun.algorithms import Learner
from metarun.backbones.norm import BatchNorm
from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.layerwise.chain import chain_of
from metarun.tasks.task import Spec

ITEMS, TASKS = 20, 16  # on a CPU, vmap is faster up to so many items a task, from so many tasks
TASKS_OF_LAYERS = 4  # in a step, from which `layerwise` is faster on a CPU
TASKS_AT_ONCE, TASKS_AT_ONCE_ON_A_GPU = 16, 128  # by default
TOGETHER = ("vmap", "layerwise")  # engines that compute several tasks together


def set_engine(learner: Learner, config: RunConfig, spec: Spec, device: str) -> RunConfig:
    """Set the engine of the learner, and return the configuration with the name of the engine.

    The choice of `engine=auto` depends on the configuration and the kind of device only.

    Raises:
        Refused: the engine that the user chose cannot compute this learner.
    """
    engine = config.engine
    if engine == "auto":
        engine = _fastest(learner, config, spec, device)
    elif engine in TOGETHER and (obstacle := _obstacle(engine, learner, config, spec)):
        raise Refused(f"engine={engine}: {obstacle}; engine=loop takes any learner")
    elif engine not in learner.engines:
        raise Refused(
            f"engine={engine}: {config.choices.algo} has no inner loop that it could compute; "
            "engine=loop takes any learner"
        )
    elif engine == "learn2learn" and getattr(learner, "adapts", None) is not None:
        raise Refused("engine=learn2learn: it adapts all weights; leave algo.adapts out")
    elif engine == "learn2learn" and getattr(learner, "later_inner_lr", None) is not None:
        raise Refused("engine=learn2learn: has one step size; leave algo.later_inner_lr out")
    elif engine == "learn2learn" and find_spec("learn2learn") is None:
        raise Refused("engine=learn2learn: learn2learn is not installed; engine=loop needs nothing")
    if config.tasks_at_once and engine not in TOGETHER:
        raise Refused(
            f"tasks_at_once={config.tasks_at_once}: engine={engine} takes one task after another; "
            "leave it out or set engine=vmap or layerwise"
        )
    if config.tasks_at_once and learner.sequential:
        raise Refused(
            f"tasks_at_once={config.tasks_at_once}: {config.choices.algo} trains on one task after "
            "another; leave it out"
        )
    learner.engine = engine
    if engine in TOGETHER and not learner.sequential:
        default = TASKS_AT_ONCE_ON_A_GPU if device == "cuda" else TASKS_AT_ONCE
        if engine == "layerwise" and device != "cuda":
            default = min(default, -(-config.meta_batch // 2))  # two blocks, for `workers`
        learner.tasks_at_once = config.tasks_at_once or default
    return config.model_copy(update={"engine": engine})


def _fastest(learner: Learner, config: RunConfig, spec: Spec, device: str) -> str:
    """Return the engine that was fastest in the measurements of `docs/speed.md`."""
    possible = {engine for engine in TOGETHER if not _obstacle(engine, learner, config, spec)}
    if not _is_built_in(learner):
        return "loop"
    if device == "cuda":
        return "vmap" if "vmap" in possible else "loop"
    if "layerwise" in possible and config.meta_batch >= TASKS_OF_LAYERS:
        return "layerwise"
    if "vmap" not in possible or learner.sequential:
        return "loop"
    return "vmap" if not spec.examples or _are_many_small_tasks(config) else "loop"


def _obstacle(engine: str, learner: Learner, config: RunConfig, spec: Spec) -> str | None:
    """Return why the engine cannot compute this learner's tasks together; `None` if it can."""
    if engine not in learner.engines:
        return f"{config.choices.algo} has no inner loop that {engine} could compute"
    if config.precision == "bfloat16":
        return f"autocast to bfloat16 has no effect with {engine}"
    if engine == "layerwise" and not spec.examples:
        return f"supports of {config.choices.data} are environments"
    sizes = (config.train_ways, config.train_shots, config.train_queries)
    if spec.examples and not all(isinstance(size, int) for size in sizes):
        return f"tasks of {config.choices.data} differ in size"
    if engine == "layerwise" and chain_of(learner.net) is None:
        return "the network is no chain of convolutions, batch norms, poolings and linear layers"
    partly = getattr(learner, "adapts", None) is not None
    partly = partly or not all(p.requires_grad for p in learner.parameters())
    if engine == "layerwise" and partly:
        return "some weights of the network do not adapt"
    if engine == "layerwise" and getattr(learner, "later_inner_lr", None) is not None:
        return "the inner steps have several sizes"
    for module in learner.modules():
        kind = type(module).__name__
        if "Dropout" in kind:
            return f"{kind} in the network draws random numbers"
        if getattr(module, "running_mean", None) is not None and not isinstance(module, BatchNorm):
            return f"{kind} in the network keeps running averages"
    return None


def _is_built_in(learner: Learner) -> bool:
    """Whether all modules are from metarun or torch; others may not support `vmap`."""
    return all(type(m).__module__.startswith(("metarun.", "torch.")) for m in learner.modules())


def _are_many_small_tasks(config: RunConfig) -> bool:
    """Whether vmap was faster than the loop on a CPU."""
    items = config.train_ways * (config.train_shots + config.train_queries)
    return items <= ITEMS and config.meta_batch >= TASKS
