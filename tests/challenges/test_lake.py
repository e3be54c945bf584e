"""`metarun evaluate protocol=lake`: which runs are admitted, results, and no random draws."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from metarun import challenges, cli
from metarun.algorithms.protonet import ProtoNet
from metarun.config.schema import RunConfig
from metarun.data import class_splits, lake, omniglot
from metarun.data.preparation.omniglot_images import content_hash
from metarun.evaluate import InOrder
from metarun.runs import config_file
from metarun.tasks.gathered import source_of
from metarun.tasks.task import Examples, Model
from metarun.training.evaluation import evaluate
from tests.conftest import TINY
from tests.drawings import blot, one_shot_runs, png, zipped

Metarun = Callable[..., tuple[int, str, list[str]]]
SPLIT = {"train": {"Greek": range(1, 7)}, "val": {"Latin": range(1, 6)}}
SPLIT["test"] = {"Angelic": range(1, 6)}
TRAIN = ("data=omniglot", "debug=tiny", "backbone.filters=8", "threads=1", "queries=2")
AS_BACKGROUND = "data.split=background_evaluation"


@pytest.fixture(scope="module")
def miniature(tmp_path_factory) -> Iterator[list[str]]:
    """Small replacements of Omniglot and its 20 runs; yields the overrides that select them."""
    home = tmp_path_factory.mktemp("miniature")
    rng, drawings, files = np.random.default_rng(1), {}, {}
    for part, alphabets in SPLIT.items():
        archive = "images_evaluation" if part == "test" else "images_background"
        for alphabet, numbers in alphabets.items():
            for n in numbers:
                by_file = drawings.setdefault(f"{alphabet}/character{n:02d}", {})
                for k in range(1, 21):
                    by_file[f"{n:04d}_{k:02d}.png"] = ink = blot(rng)
                    path = f"{archive}/{alphabet}/character{n:02d}/{n:04d}_{k:02d}.png"
                    files.setdefault(archive, {})[path] = png(ink)
    for archive, contents in files.items():
        zipped(home / f"{archive}.zip", contents)
    runs, labels = one_shot_runs()
    zipped(home / "all_runs.zip", runs)
    splits = home / "splits"
    splits.mkdir()
    plain = {part: {a: list(n) for a, n in alphabets.items()} for part, alphabets in SPLIT.items()}
    other = {"train": plain["test"], "val": plain["val"], "test": plain["train"]}
    for name, lists in {"vinyals": other, "background_evaluation": plain}.items():
        (splits / f"omniglot_{name}.json").write_text(json.dumps(lists))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_splits, "LISTS", splits)
        patch.setattr(omniglot, "CONTENT", content_hash(drawings))
        decoded, _ = lake._decode(home / "all_runs.zip", runs)
        patch.setattr(lake, "CONTENT", lake.content(decoded, labels))
        yield [f"data.root={home}", f"data.cache={home / 'cache'}"]


@pytest.fixture(scope="module")
def trained(miniature, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main([*TRAIN, AS_BACKGROUND, *miniature, f"out={out}"]) == 0
    return out


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def lake_of(metarun: Metarun, *words: str) -> tuple[int, str, list[str]]:
    return metarun("evaluate", "run=run", "protocol=lake", *words)


def refused(metarun: Metarun, *words: str) -> list[str]:
    code, _, err = lake_of(metarun, *words)
    assert code == 2
    assert not Path("run/evaluations").exists()
    return [line.removeprefix("metarun: ") for line in err]


def read(folder: str) -> dict:
    return json.loads(Path(folder, "result.json").read_text())


class Oracle(ProtoNet):
    """Predicts the label of the nearest support item; the test runs consist of near copies."""

    wrong = False

    def adapt(self, support: Examples) -> Model:
        def outputs(x: Tensor) -> Tensor:
            near = torch.cdist(x.flatten(1), support.x.flatten(1)).argmin(1)
            return torch.nn.functional.one_hot((support.y[near] + self.wrong) % 20, 20).float()

        return outputs


class TestErrorRate:
    @pytest.mark.parametrize(("wrong", "error"), [(False, 0.0), (True, 1.0)])
    def test_a_perfect_learner_and_one_that_is_always_wrong(
        self, metarun: Metarun, run, monkeypatch, wrong, error
    ):
        monkeypatch.setattr(Oracle, "wrong", wrong)
        monkeypatch.setattr(ProtoNet, "adapt", Oracle.adapt)
        monkeypatch.setattr(ProtoNet, "wrong", wrong, raising=False)
        code, out, err = lake_of(metarun)
        assert (code, err) == (0, [])
        scores = read("run/evaluations/lake")["test"]
        assert scores["error_rate"] == {"mean": error, "ci95": 0.0}
        assert scores["accuracy"] == {"mean": 1 - error, "ci95": 0.0}
        assert out.splitlines()[-1] == (
            f"error rate {100 * error:.1f} ± 0.0 % over 20 runs "
            "(Lake et al. 2015: people 4.5 %, BPL 3.3 %)"
        )

    def test_it_is_the_mean_over_the_runs_with_its_interval(self, metarun: Metarun, run):
        before = (run / "result.json").read_bytes()
        code, out, _ = lake_of(metarun)
        assert code == 0
        result = read("run/evaluations/lake")
        text = Path("run/evaluations/lake/test_episodes.csv").read_text()
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["episode"] for row in rows] == [str(i) for i in range(20)]
        errors = np.array([float(row["error_rate"]) for row in rows])
        assert np.allclose(errors * 20, np.round(errors * 20), atol=1e-5)  # of 20 test items
        assert result["test"]["episodes"] == 20
        assert result["test"]["error_rate"]["mean"] == pytest.approx(errors.mean())
        half = 2.093024 * errors.std(ddof=1) / np.sqrt(20)  # t of 19 degrees of freedom
        assert result["test"]["error_rate"]["ci95"] == pytest.approx(half)
        shown = f"error rate {100 * errors.mean():.1f} ± {100 * half:.1f} % over 20 runs"
        assert out.splitlines()[-1].startswith(shown)
        assert (run / "result.json").read_bytes() == before

    def test_both_kinds_of_batch_norm(self, metarun: Metarun, run):
        lake_of(metarun)
        lake_of(metarun, "algo.batch_norm=transductive")
        one, two = read("run/evaluations/lake"), read("run/evaluations/lake_2")
        assert one["protocol"]["batch_norm"] == "inductive"
        assert two["protocol"]["batch_norm"] == "transductive"
        assert one["test_by_batch_norm"] == two["test_by_batch_norm"]
        for result in (one, two):
            scores = result["test_by_batch_norm"][result["protocol"]["batch_norm"]]
            assert {**scores, "episodes": 20} == result["test"]
        assert one["test"]["loss"] != two["test"]["loss"]

    def test_nothing_is_drawn_and_nothing_is_overwritten(self, metarun: Metarun, run):
        for _ in range(2):
            assert lake_of(metarun)[0] == 0
        assert lake_of(metarun, "name=mine")[0] == 0
        names = ("lake", "lake_2", "mine")
        assert sorted(p.name for p in Path("run/evaluations").iterdir()) == list(names)
        one, two, three = (read(f"run/evaluations/{name}") for name in names)
        assert one["test"] == two["test"] == three["test"]
        assert one["protocol"] == two["protocol"] == three["protocol"]
        code, _, err = lake_of(metarun, "name=mine")
        assert (code, err[0].split(":")[1]) == (2, " name=mine")

    def test_the_protocol_is_recorded(self, metarun: Metarun, run, miniature):
        lake_of(metarun)
        trained, tested = (read(f)["protocol"] for f in ("run", "run/evaluations/lake"))
        expected = {"protocol": "lake", "ways": 20, "shots": 1, "queries": 1, "episodes": 20}
        assert expected.items() <= tested.items()
        root = miniature[0].partition("=")[2]
        assert tested["split_sha256"] == lake.read_runs(root, "http://127.0.0.1:9").sha256
        assert re.fullmatch("[0-9a-f]{64}", tested["episodes_sha256"])
        assert tested["episodes_sha256"] != trained["episodes_sha256"]
        assert tested["train_split_sha256"] == trained["train_split_sha256"]

    def test_tasks_hold_the_images_and_labels_of_each_run(self, miniature):
        root = miniature[0].partition("=")[2]
        runs = lake.read_runs(root, "http://127.0.0.1:9")
        sampler = InOrder(source_of(runs, (20, 1, 1)), key=())
        for number, task in zip((3, 0), sampler.tasks([3, 0]), strict=True):
            assert torch.equal(task.support.x, torch.from_numpy(runs.support[number]) / 255)
            assert torch.equal(task.query.y, torch.from_numpy(runs.labels[number]))
            assert (task.support.labels, len(task.support)) == (20, 20)
        scores = evaluate(Oracle(nn.Identity(), None), sampler, 20)
        assert scores["accuracy"].tolist() == [1.0] * 20


class TestAdmittedRuns:
    def test_refuses_runs_trained_on_test_characters(self, metarun: Metarun, miniature):
        metarun(*TRAIN, *miniature, "out=run")
        (line,) = refused(metarun)
        assert line == (
            "run=run: trained with data.split=vinyals; protocol=lake is for runs trained on the "
            "background set only: data=omniglot data.split=background_evaluation"
        )

    def test_refuses_a_forged_configuration(self, metarun: Metarun, miniature):
        """The checksum of `config.yaml` is forged, too."""
        metarun(*TRAIN, *miniature, "out=run")
        config = yaml.safe_load(Path("run/config.yaml").read_text())
        config["data"]["split"] = "background_evaluation"
        config_file.keep_config(RunConfig.model_validate(config), Path("run"))
        (line,) = refused(metarun)
        assert line == (
            "run/config.yaml: data.split=background_evaluation: the run was trained with vinyals"
        )

    def test_refuses_runs_trained_on_other_data(self, metarun: Metarun):
        metarun(*TINY, "out=run")
        (line,) = refused(metarun, *TINY[:2])
        assert line.startswith("run=run: trained on data=blobs; protocol=lake is for runs trained")

    def test_admits_runs_with_any_rotations(self, metarun: Metarun, miniature):
        words = ("data.rotations=episode", "train_ways=5", "out=run")
        metarun(*TRAIN, AS_BACKGROUND, *miniature, *words)
        assert lake_of(metarun)[0] == 0

    def test_learners_with_a_head_per_label_need_20_heads(self, metarun: Metarun, miniature):
        words = ("data=omniglot", AS_BACKGROUND, *miniature, "debug=tiny", "threads=1")
        words += ("algo=fomaml", "backbone=mlp", "algo.inner_steps=1", "algo.test_inner_steps=1")
        metarun(*words, "out=run")
        (line,) = refused(metarun)
        assert line == (
            "run=run: fomaml has a head for each label, and this run has 5; protocol=lake needs a "
            "run trained with train_ways=20 ways=20"
        )
        metarun(*words, "ways=20", "out=other")
        assert metarun("evaluate", "run=other", "protocol=lake")[0] == 0


class TestOverrides:
    def test_refuses_all_other_task_sizes_in_one_error(self, metarun: Metarun, run):
        words = ("ways=5", "shots=5", "queries=15", "episodes=100", "split=val", "eval_seed=1")
        lines = refused(metarun, *words)
        keys = {line.split("=")[0].split(":")[0] for line in lines}
        assert keys == {"ways", "shots", "queries", "episodes", "split", "eval_seed"}
        assert "ways=5: lake is for ways=20" in lines

    def test_accepts_the_sizes_of_the_protocol(self, metarun: Metarun, run):
        assert lake_of(metarun, "ways=20", "shots=1", "threads=1")[0] == 0

    def test_refuses_another_data_split(self, metarun: Metarun, run):
        (line,) = refused(metarun, "data.split=vinyals")
        assert line.startswith("data.split: evaluate protocol=lake cannot change it")

    @pytest.mark.parametrize("name", ["lak", "", "../lake", "vinyals", "__init__"])
    def test_refuses_unknown_protocols(self, metarun: Metarun, run, name):
        code, _, err = metarun("evaluate", "run=run", f"protocol={name}")
        assert code == 2
        assert err[0].startswith(f"metarun: protocol={name}: no such protocol")
        assert err[0].endswith("(lake)")

    def test_data_root_can_be_changed(self, metarun: Metarun, run, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (line,) = refused(metarun, f"data.root={elsewhere}", "data.url=http://127.0.0.1:9")
        assert "no connection" in line
        assert f"all_runs.zip into data.root={elsewhere}" in line

    def test_broken_runs_are_one_line(self, metarun: Metarun, run, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "all_runs.zip").write_bytes(b"PK")
        (line,) = refused(metarun, f"data.root={tmp_path / 'elsewhere'}")
        assert "all_runs.zip: not a whole zip file" in line


def test_every_challenge_has_all_attributes() -> None:
    assert challenges.names() == ["lake"]
    for name in challenges.names():
        test = challenges.named(name)
        assert set(test.TASK) == {"ways", "shots", "queries", "episodes"}
        assert all(callable(getattr(test, verb)) for verb in ("admit", "load", "verdict"))
