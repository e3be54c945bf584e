"""A `multirun.yaml` of somebody else reads no secrets and writes only to the folder of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from metarun.errors import Refused
from metarun.sweeps.replay import changed, is_replayable, saved_overrides
from tests.conftest import OWN, TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
DIR = TINY[:2]


def sweep_file(folder: Path, task: Sequence[str], hydra: Sequence[str] = ()) -> Path:
    """The folder of a sweep with these overrides."""
    folder.mkdir()
    content = {"hydra": {"overrides": {"task": list(task), "hydra": list(hydra)}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(content))
    return folder


def files_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize(
    "override",
    [
        "tags=[${oc.env:SECRET}]",
        "+tags='${oc.env:SECRET}'",
        r"tags=[$\{oc.env\:SECRET\}]",  # Hydra removes the backslashes
        "tags=[${oc.${algo.distance}:SECRET}]",
        "tags=[${hydra:runtime.cwd}]",
        "tags=[${hydra.runtime.cwd}]",
        "data.cache=${oc.env:HOME}/x",
        "hydra.sweep.subdir=${oc.env:SECRET}",
        "hydra.sweeper.trials=${oc.env:SECRET}",
        "+data@hydra.callbacks=glyphs",
        "hydra.sweep.subdir@x=1",
        "+hydra.job.env_set.A=1",
    ],
)
def test_an_override_that_reads_the_environment_is_refused(tmp_path: Path, override: str) -> None:
    is_hydra = override.lstrip("+").startswith("hydra")
    words = ([], [override]) if is_hydra else ([override], [])
    sweep = sweep_file(tmp_path / "sweep", *words)
    with pytest.raises(Refused, match="cannot be replayed") as refused:
        saved_overrides(sweep)
    assert len(refused.value.mistakes) == 1
    assert refused.value.mistakes[0].startswith(f"{sweep / 'multirun.yaml'}: {override}: ")


def test_overrides_that_refer_to_other_keys_are_replayed(tmp_path: Path) -> None:
    task = ["shots=1,2", "train_shots=${shots}", "tags=[a,'1: b']"]
    hydra = ["hydra.sweep.subdir=${algo.distance}/${hydra.job.num}", "hydra/launcher=joblib"]
    hydra += ["hydra.sweeper.max_batch_size=2"]
    sweep = sweep_file(tmp_path / "sweep", task, [*hydra, "hydra.sweep.dir=x", "hydra.mode=RUN"])
    assert saved_overrides(sweep) == [*task, *hydra]


@pytest.mark.parametrize(
    "content",
    [
        "a: &a [x]\nhydra: {overrides: {task: *a, hydra: []}}",
        "&a [*a]",
        "hydra: {overrides: {task: [1], hydra: []}}",
        "hydra: {overrides: {task: [], hydra: }}",
        "- " * 100_000,
    ],
)
def test_a_file_that_metarun_has_not_written_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "multirun.yaml").write_text(content)
    with pytest.raises(Refused, match=r"multirun.yaml: is not the file of a sweep"):
        saved_overrides(tmp_path)


@pytest.mark.parametrize("subdir", ["../x", "/tmp/x", ".", "${tags}/x", "a/../../x", "0/${out}"])
def test_the_folder_of_a_job_is_inside_that_of_the_sweep(metarun: Metarun, subdir: str) -> None:
    task = [*TINY[2:], "seed=0,1", "tags=../../x", "out=../../x"]
    sweep_file(Path("sweep"), task, [f"hydra.sweep.subdir={subdir}"])
    before = files_below(Path.cwd())
    code, _, err = metarun("resume=sweep", *DIR)
    assert (code, len(err)) == (2, 1)
    assert "is not inside the folder of the sweep" in err[0]
    assert files_below(Path.cwd()) == before


def test_a_sweep_is_not_started_with_jobs_outside_of_its_folder(metarun: Metarun) -> None:
    code, _, err = metarun("-m", *TINY, "seed=0,1", "hydra.sweep.subdir=../${seed}")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: hydra.sweep.subdir=../${seed}: job 0 would run in ")
    assert files_below(Path.cwd()) == []


@pytest.mark.parametrize("name", ["0", "multirun.yaml", "search.journal", "sweep.csv"])
def test_links_to_other_folders_are_not_followed(metarun: Metarun, name: str) -> None:
    sweep = sweep_file(Path("sweep"), [*TINY[2:], "seed=0,1"])
    Path("outside").mkdir()
    target = Path("outside") if name == "0" else Path("outside/file")
    if name != "0":
        target.write_bytes((sweep / "multirun.yaml").read_bytes())
    (sweep / name).unlink(missing_ok=True)
    (sweep / name).symlink_to(target.resolve())
    before = {p: p.is_file() and p.read_bytes() for p in files_below(Path("outside"))}
    code, _, err = metarun("resume=sweep", *DIR)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"metarun: sweep/{name}: is a link to another folder;")
    assert {p: p.is_file() and p.read_bytes() for p in files_below(Path("outside"))} == before


def test_a_link_within_the_sweep_is_kept(tmp_path: Path) -> None:
    sweep = sweep_file(tmp_path / "sweep", ["seed=0,1"])
    (sweep / "best").symlink_to("0")
    assert saved_overrides(sweep) == ["seed=0,1"]


def test_an_override_that_cannot_be_read_is_not_left_out(metarun: Metarun) -> None:
    sweep_file(Path("sweep"), [*TINY[2:], "seed=0,1", "shots=(1"])
    code, _, err = metarun("resume=sweep", *DIR, "hydra.launcher.n_jobs=(2")
    assert code == 2
    assert [line.partition(": not an override: ")[0] for line in err] == [
        "metarun: shots=(1",
        "metarun: hydra.launcher.n_jobs=(2",
    ]


@pytest.mark.parametrize(
    "word",
    ["data.cache=x/cache", "data.cache=choice(a,x/cache)", "data_home=x", "++data.cache='x/cache'"],
)
def test_data_is_not_prepared_in_a_folder_that_a_sweep_file_names(
    metarun: Metarun, word: str
) -> None:
    sweep_file(Path("sweep"), [word, "data=glyphs", "debug=tiny", "seed=0,1"])
    before = files_below(Path.cwd())
    code, _, err = metarun("resume=sweep")
    assert code == 2
    assert err[-1].startswith("metarun: sweep/multirun.yaml: data.cache=x/cache: is neither ")
    assert files_below(Path.cwd()) == before


def test_a_sweep_resumes_with_a_cache_that_metarun_has_prepared(metarun: Metarun) -> None:
    prepared = Path("x/cache/some")
    prepared.mkdir(parents=True)
    (prepared / "metarun_index.json").write_text("{}")
    sweep_file(Path("sweep"), [*TINY[2:], "data_home=x", "shots=90"])
    code, _, err = metarun("resume=sweep", "--config-dir", str(OWN))
    assert code == 1  # the job is refused, because the classes are too small
    assert "data.cache" not in "".join(err)
    assert json.loads(Path("sweep/0/result.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("word", "safe"),
    [
        ("hydra.launcher.n_jobs=2", True),
        ("hydra.launcher.partition=gpu-long", True),
        ("hydra.launcher.gres=gpu:1", True),
        ("hydra.launcher._target_=os.system", False),
        ("hydra.launcher.setup=[evil]", False),
        ("hydra.launcher.submitit_folder=/elsewhere", False),
        ("hydra.launcher.additional_parameters={wrap:evil}", False),
        ("hydra.launcher.partition='a\nevil'", False),
        ("hydra.launcher.partition=a b", False),
        ("hydra.launcher.partition=${oc.env:HOME}", False),
        ("hydra.launcher.partition=gpu\n", False),
        ("hydra.launcher={n_jobs:2}", False),
    ],
)
def test_only_safe_launcher_keys_are_replayed(word: str, safe: bool) -> None:
    assert is_replayable(word) is safe


def test_another_launcher_replaces_the_keys_of_the_first() -> None:
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "shots=1,2", "threads=1"]
    other = changed(words, ["hydra/launcher=submitit_local"])
    assert other == ["shots=1,2", "threads=1", "hydra/launcher=submitit_local"]
    more = changed(words, ["hydra.launcher.n_jobs=4"])
    assert more == ["hydra/launcher=joblib", "shots=1,2", "threads=1", "hydra.launcher.n_jobs=4"]
    for word in ("steps=5", "hydra.launcher._target_=os.system", "hydra.sweep.subdir=x"):
        with pytest.raises(Refused, match="keeps the settings of a sweep"):
            changed(words, [word])
