"""A trained learner as one file for other programs: the network and the rule, without metarun."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metarun.algorithms import Learner
from metarun.backbones.frozen import Frozen
from metarun.config.schema import RunConfig
from metarun.errors import Refused, RunFailed
from metarun.files import write_whole
from metarun.runs import checkpoint, results
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples
from metarun.tasks.tensors import NORMALISATION
from metarun.training.restored import restored_classifier

INPUTS = ("support", "labels", "query")
TOLERANCE = 1e-4  # of scores, relative to the largest
OPSET = 18


class Exported(nn.Module):
    """A learner as a function of a support and a query.

    Args:
        learner: in evaluation mode.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner
        for name, module in list(learner.named_children()):
            if isinstance(module, Frozen):  # it looks features up by the hash of an item
                setattr(learner, name, module.net)

    def forward(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Scores (m, N) of the query.

        Args:
            support: (n, *shape) items.
            labels: (n, N) 1 for the class of each item, 0 for the others.
            query: (m, *shape) items.
        """
        task = Examples(support, labels.argmax(1), CLASSIFICATION, labels.shape[1])
        return self.learner.adapt(task)(query)


def export(
    config: RunConfig, run: Path, out: Path, kind: str, folders: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the learner of a run to `out`, and how items are prepared to a JSON file beside it.

    Args:
        config: the run's saved configuration.
        kind: `onnx` or `torch_export`.
        folders: the user's config folders.

    Returns:
        The content of the JSON file.

    Raises:
        Refused: the run has no usable checkpoint, its learner is no metric learner, or a package is
            missing.
        RunFailed: the learner cannot be exported, or the file gives other scores than it.
    """
    if kind == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise Refused("format=onnx: needs pip install 'metarun[export]'; or format=torch_export")
    state, algo = checkpoint.best(run / "checkpoints"), config.choices.algo
    shape = state["task"].get("inputs")
    config = config.model_copy(update={"device": "cpu"})
    learner, _ = restored_classifier(config, run, state, shape, folders)
    if not learner.exportable:
        raise Refused(
            f"run={run}: {algo} cannot be exported as it was trained, because it is no single "
            "function of supports of every size; metric learners such as protonet can be"
        )
    if "batch_norm" in config.algo:
        learner.batch_norm = "inductive"
    model, tokens = Exported(learner.float()).eval(), bool(config.data.get("tokens"))
    content = _content(model, kind, _task(shape, tokens, 3, 2, 4), algo)
    difference = _difference(model, content, kind, _task(shape, tokens, 4, 3, 5))
    if difference is not None and not difference <= TOLERANCE:
        raise RunFailed(f"{algo}: the scores of the file differ by {difference:.2g}")
    record = _record(config, run, state, kind, learner, difference)
    write_whole(out, content)
    write_whole(out.with_suffix(".json"), results.as_json(record))
    return record


def _task(
    shape: tuple[int, ...], tokens: bool, ways: int, shots: int, queries: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs of the exported function."""
    rng = torch.Generator().manual_seed(0)
    items = torch.rand(ways * shots + queries, *shape, generator=rng)
    if tokens:
        items = (100 * items).int()
    labels = torch.eye(ways).repeat_interleave(shots, 0)
    return items[:-queries], labels, items[-queries:]


@torch.no_grad()
def _content(model: Exported, kind: str, task: Sequence[Tensor], algo: str) -> bytes:
    items, ways, queries = map(torch.export.Dim, ("items", "ways", "queries"))
    shapes = {"support": {0: items}, "labels": {0: items, 1: ways}, "query": {0: queries}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, tuple(task), dynamic_shapes=shapes, strict=False)
            if kind == "torch_export":
                file = io.BytesIO()
                torch.export.save(program, file)
                return file.getvalue()
            names = {"input_names": list(INPUTS), "output_names": ["scores"]}
            found = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                optimize=False,  # by the program that loads it
                verbose=False,
                **names,
            )
            return found.model_proto.SerializeToString()
    except Exception as error:  # the exporters raise errors of many types
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RunFailed(f"{algo}: cannot be exported ({lines[0]})") from error


@torch.no_grad()
def _difference(model: Exported, content: bytes, kind: str, task: Sequence[Tensor]) -> float | None:
    """The largest difference of scores, relative to the largest; `None` without onnxruntime."""
    if kind == "onnx" and not find_spec("onnxruntime"):
        return None
    expected = model(*task).numpy()
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        given = {name: x.numpy() for name, x in zip(INPUTS, task, strict=True)}
        (found,) = session.run(None, given)
    else:
        found = torch.export.load(io.BytesIO(content)).module()(*task).numpy()
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1.0))


def _record(
    config: RunConfig,
    run: Path,
    state: Mapping[str, Any],
    kind: str,
    learner: Learner,
    difference: float | None,
) -> dict[str, Any]:
    result = results.read_result(run) or {}
    protocol, of_run = result.get("protocol") or {}, result.get("run") or {}
    tokens = config.data.get("tokens")
    shape = list(state["task"]["inputs"])
    return {
        "format": kind,
        **config.choices.model_dump(include={"algo", "data", "backbone"}),
        "run": str(run),
        "run_id": state["id"],
        "checkpoint_step": state["step"],
        "inputs": {
            "support": {"shape": ["items", *shape], "type": "int32" if tokens else "float32"},
            "labels": {"shape": ["items", "ways"], "type": "float32", "values": "1 for the class"},
            "query": {"shape": ["queries", *shape], "type": "int32" if tokens else "float32"},
        },
        "outputs": {"scores": {"shape": ["queries", "ways"], "type": "float32"}},
        "data_settings": protocol.get("data_settings"),
        "normalisation": protocol.get("normalisation", NORMALISATION),
        "pixels": protocol.get("pixels"),
        "spectrograms": of_run.get("spectrograms"),
        "batch_norm": learner.batch_norm,
        "trained_batch_norm": config.algo.get("batch_norm"),
        "expected_shots": state["task"]["shots"] if learner.fixed_shots else None,
        "difference": difference,
        "versions": results.versions(),
    }
