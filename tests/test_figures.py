"""The results book: docs/figures.md is what its script makes of the files in docs/figures."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from metarun.stats import difference, interval
from metarun.tasks.headline import Headline
from tests.conftest import TINY
from tests.presets import NAME, preset

Metarun = Callable[..., tuple[int, str, list[str]]]
ROOT = Path(__file__).parents[1]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "scripts" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FIGURES = script()
STORED = FIGURES.stored_runs(FIGURES.FOLDER)


def test_the_page_is_what_the_script_makes_of_the_files() -> None:
    """Otherwise: .venv/bin/python scripts/figures.py."""
    text = FIGURES.PAGE.read_text("utf-8")
    assert FIGURES.page(text) == text


def test_a_stored_figure_is_the_mean_of_its_scores_and_names_no_folder_of_a_machine() -> None:
    for run in STORED.values():
        score = Headline.of(run).score
        if run["scores"]:
            stored = interval(FIGURES.unpacked(run["scores"]))
            assert {key: run["test"][score][key] for key in stored} == pytest.approx(stored)
        if run["verify"] and run["verify"]["reached"]:
            assert run["verify"]["reached"] == run["test"][score]
        assert not re.search(r"[= \"](/|~|file:)\w", json.dumps(run))


def stored_texts() -> set[str]:
    """`mean ± interval` of the stored runs, their means over seeds and their paired differences."""
    texts, over_seeds, scores = set(), defaultdict(list), {}
    for run in (run for run in STORED.values() if "test" in run):  # others are unfinished
        headline = Headline.of(run)
        kinds = run.get("test_by_batch_norm", {}).values()
        validated = headline.score in (run["val"] or ())
        sections = [run["test"], *kinds, *[run["val"]] * validated]
        for stat in (section[headline.score] for section in sections):
            texts.add(text_of(headline, stat))
            if "ci95_classes" in stat:
                texts.add(text_of(headline, {**stat, "ci95": stat["ci95_classes"]}))
        if not headline.percent:  # further scores
            stats = [stat for stat in run["test"].values() if isinstance(stat, Mapping)]
            texts |= {text_of(headline, stat) for stat in stats}
        if rate := run["test"].get("error_rate"):  # of a challenge
            texts.add(f"{100 * rate['mean']:.1f} ± {100 * rate['ci95']:.1f}")
        group = re.sub(r" (seed=\d+|device=\w+)", "", run["command"])
        over_seeds[group, headline].append([s[headline.score]["mean"] for s in sections])
        if run["scores"]:
            key = (run["protocol"]["episodes_sha256"], headline)
            scores.setdefault(key, []).append(FIGURES.unpacked(run["scores"]))
    for (_, headline), means in over_seeds.items():
        texts |= {text_of(headline, interval(np.array(m))) for m in zip(*means, strict=True)}
    for (_, headline), runs in scores.items():
        pairs = itertools.permutations(runs, 2)
        texts |= {text_of(headline, difference(a, b)._asdict()) for a, b in pairs}
    return texts


def text_of(headline: Headline, stat: Mapping[str, float]) -> str:
    return headline.figure(stat).removesuffix(" %")


def test_every_figure_of_the_documentation_is_stored() -> None:
    """`93.58 ± 0.38` and the like: of a run in docs/figures, or of several of them."""
    stored, presets = stored_texts(), Path("conf/experiment").rglob("*.yaml")
    pairs = [re.findall(r"\[(\d[\d.]*), ([\d.]+)\]", file.read_text("utf-8")) for file in presets]
    published = {tuple(map(float, pair)) for pair in itertools.chain(*pairs)}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        figures = set(re.findall(r"-?\d+\.\d+ ± \d+\.\d+", page.read_text("utf-8")))
        unknown = {
            f for f in figures - stored if tuple(map(float, f.split(" ± "))) not in published
        }
        assert not unknown, f"{page.name}: {sorted(unknown)}"


def test_a_run_is_stored_with_its_verdict_and_its_scores(metarun: Metarun, tmp_path: Path) -> None:
    words = (*preset(Path("conf")), "threads=1", f"data_home={tmp_path}", "budget=1h", "out=one")
    assert metarun("verify", *words)[0] == 0
    assert metarun(*TINY, "out=two")[0] == 0
    folder = tmp_path / "stored"
    for name in ("one", "two"):
        FIGURES.store(Path(name), folder)
    runs = FIGURES.stored_runs(folder)
    one = runs["one"]
    assert one["command"] == f"metarun verify --config-dir conf experiment={NAME} threads=1"
    assert one["verify"] == json.loads(Path("one/verify.json").read_text())
    assert interval(FIGURES.unpacked(one["scores"])) == pytest.approx(
        {key: one["test"]["accuracy"][key] for key in ("mean", "ci95")}
    )
    assert [step for step, _, _ in one["validations"]] == [2, 4]
    assert runs["two"]["verify"] is None
    assert str(tmp_path) not in json.dumps(runs)
    with pytest.raises(SystemExit, match="is there already"):
        FIGURES.store(Path("one"), folder)
    rows = "\n".join(FIGURES.sections(folder))
    assert "`metarun --config-dir own data=blobs debug=tiny backbone.filters=8 threads=1`" in rows


def test_an_evaluation_and_a_job_of_a_sweep_are_named_after_what_they_belong_to(
    metarun: Metarun, tmp_path: Path
) -> None:
    assert metarun("-m", *TINY, "seed=0,1", "hydra.sweep.dir=seeds")[0] == 0
    assert metarun("evaluate", "run=seeds/1", *TINY[:2], "shots=2", "name=two_shots")[0] == 0
    for folder in ("seeds/0", "seeds/1/evaluations/two_shots"):
        FIGURES.store(Path(folder), tmp_path / "stored")
    runs = FIGURES.stored_runs(tmp_path / "stored")
    assert list(runs) == ["seeds_0", "seeds_1_two_shots"]
    assert runs["seeds_0"]["command"].endswith(" seed=0")
    evaluation = runs["seeds_1_two_shots"]
    assert evaluation["command"] == "metarun evaluate run=seeds_1 --config-dir own shots=2"
    assert (evaluation["protocol"]["shots"], evaluation["validations"]) == (2, [])


def verdict(seed: int, mean: float | None, done: int = 20_000, **protocol: str) -> dict:
    """The stored file of a run of protonet/omniglot; runs with other seeds than 0 use a GPU."""
    reached = mean and {"mean": mean, "ci95": 0.002, "ci95_classes": 0.003}
    return {
        "verify": {
            **{"experiment": "protonet/omniglot", "cell": "5way_1shot", "seed": seed},
            **{"verdict": "passed" if mean else "unfinished", "reached": reached},
            **{"band": 0.003, "ahead": -0.001, "steps": 20_000, "steps_done": done},
            **{"seconds": 5400.0, "version": "1.0", "protocol": {"batch_norm": "inductive"}},
        },
        "command": f"metarun verify seed={seed} {protocol}",
        "protocol": protocol,
        "run": {"device": "cuda" if seed else "cpu"},
        "validations": [[step, 0.9, 0.01] for step in range(1000, done, 1000)],
    }


def write(folder: Path, **runs: dict) -> None:
    for name, content in runs.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_the_page_has_a_row_for_each_run_and_one_over_seeds(tmp_path: Path) -> None:
    trainval = verdict(2, 0.995, train_on="trainval")
    write(tmp_path, a=verdict(0, 0.987), b=verdict(1, 0.989), c=verdict(2, None, 7000), d=trainval)
    rows = [line for line in FIGURES.sections(tmp_path) if line.startswith("| [protonet")]
    task = "5-way 1-shot, inductive | 98.8 %; re-run 98.2 %"
    assert rows[:2] == [
        f"| [protonet/omniglot](figures/a.json) | {task} | 98.70 ± 0.20 / 0.30 % "
        "| passed (-0.10, band 0.30) | 1.5 |",
        f"| [protonet/omniglot](figures/b.json), seed 1 | {task} | 98.90 ± 0.20 / 0.30 % "
        "| passed (-0.10, band 0.30) | 1.5 (GPU) |",
    ]
    assert "unfinished at step 7000 of 20000; validation (step): 90.0 % (1000), 90" in rows[2]
    assert rows[3].startswith("| [protonet/omniglot](figures/d.json), seed 2, trainval | ")
    (over,) = (line for line in FIGURES.sections(tmp_path) if "over seeds" in line)
    assert "98.80 ± 1.27 %, 95 % over 2 seeds" in over
    lines = list(FIGURES.sections(tmp_path))
    (not_run,) = (line for line in lines if line.startswith("- `protonet/omniglot`"))
    assert "5-way 1-shot" not in not_run


def test_list_published_has_every_figure_and_every_run(
    metarun: Metarun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, a=verdict(0, 0.987), b=verdict(1, None, 7000))
    monkeypatch.setattr("metarun.report.figures.figures_dir", lambda: tmp_path)
    code, out, err = metarun("list", "published")
    assert (code, err) == (0, [])
    rows = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
    mine = [row for row in rows if " ".join(row).startswith("protonet/omniglot 5-way 1-shot")]
    assert [row[1] for row in mine] == [
        "5-way 1-shot, inductive",
        "5-way 1-shot, inductive, seed 1",
    ]
    assert mine == [
        [*mine[0][:2], "98.8 %", "98.2 %", "98.70 ± 0.30 %", "passed", "1.0", "1.5"],
        [*mine[1][:2], "98.8 %", "98.2 %", "–", "unfinished", "1.0", "1.5 (GPU)"],
    ]
    assert ["maml/sinusoid", "5-shot", "0.3", "–", "not run"] in rows
