"""The page shows the content of run folders as text and runs only its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.report import curves, page, runs
from metarun.report.album import Album
from metarun.report.page import as_data, policy, render
from metarun.report.ranking import rank
from metarun.tasks.headline import Headline
from tests.report.hostile import PAYLOADS, hostile
from tests.report.material import curve, learned, of_status

VOID = {"meta", "input", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """The parsed page: elements with their attributes, scripts and styles, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "style"):
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts[-1] += data
        else:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def data(self) -> dict[str, Any]:
        (text,) = (t for t in self.scripts if t.startswith('{"keys"'))
        return json.loads(text)


@pytest.fixture(autouse=True)
def short_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_plotly", lambda: "/* plotly */")


def rendered(folder: Path) -> Page:
    return Page(render(rank(runs.find([folder])), [folder], folder))


def test_a_row_a_section_and_a_curve_for_each_run(tmp_path: Path) -> None:
    for seed in range(3):
        for algo in ("protonet", "maml"):
            learned(tmp_path / f"{algo}{seed}", seed, algo)
    shown = rendered(tmp_path)
    rows = [a for a in shown.all("tr") if "data-run" in a]
    assert [row["data-run"] for row in rows] == list("012345")
    assert {row["data-algo"] for row in rows} == {"protonet", "maml"}
    assert len([a for a in shown.all("details") if a.get("class") == "run"]) == 6
    assert len(shown.data["runs"]) == 6
    assert all(r["curves"]["val"]["step"] == [10, 20, 30, 40] for r in shown.data["runs"])
    labels = {run["label"] for run in shown.data["runs"]}
    assert labels == {f"{algo} · seed {s}" for algo in ("protonet", "maml") for s in range(3)}
    assert [s["label"] for s in shown.data["seeds"]] == ["protonet", "maml"] or [
        s["label"] for s in shown.data["seeds"]
    ] == ["maml", "protonet"]
    assert "6 runs : 6 completed" in shown.words
    assert "metarun algo=maml seed=2" in shown.words
    assert "metarun 1.2.3" in shown.words
    assert len(shown.all("img")) == 6


def test_sort_values_of_figures_and_of_missing_figures(tmp_path: Path) -> None:
    learned(tmp_path / "a", 0)
    of_status(tmp_path / "b", "failed", error="no luck")
    shown = rendered(tmp_path)
    sorts = [a["data-sort"] for a in shown.all("td") if "data-sort" in a]
    test = json.loads((tmp_path / "a" / "result.json").read_text())["test"]["accuracy"]["mean"]
    assert repr(test) in sorts
    assert "" in sorts
    assert "no luck" in shown.words


def test_every_status_is_shown(tmp_path: Path) -> None:
    learned(tmp_path / "completed")
    for status in ("failed", "interrupted", "running"):
        of_status(tmp_path / status, status)
    of_status(tmp_path / "pruned", "interrupted", pruned={"step": 20, "trial": 3})
    (of_status(tmp_path / "unreadable", "x") / "result.json").write_text("{")
    shown = rendered(tmp_path)
    statuses = {row["data-status"] for row in shown.all("tr") if "data-status" in row}
    assert statuses == {"completed", "failed", "interrupted", "killed", "pruned", "unreadable"}
    assert len([a for a in shown.all("a") if a["href"].startswith("#run-")]) >= 6


def test_regression_has_its_own_plots_and_wording(tmp_path: Path) -> None:
    for seed in range(2):
        learned(tmp_path / str(seed), seed, "maml", "mse", data="sinusoid", ways=1, shots=10)
    shown = rendered(tmp_path)
    plots = [a for a in shown.all("div") if "data-plot" in a]
    assert {(p["data-plot"], p["data-name"]) for p in plots} == {
        ("dots", "mse"),
        ("curves", "mse"),
    }
    assert "test mean squared error of the best run by validation" in shown.words
    assert "lower is better" in shown.words
    better = [a["title"] for a in shown.all("td") if "title" in a]
    assert len(better) == 2
    first = rank(runs.find([tmp_path])).entries[0]
    assert f"#1 seed {first.seed} − #2" in better[0]


def test_a_custom_headline_is_plotted_and_described(tmp_path: Path) -> None:
    for seed in range(2):
        learned(tmp_path / str(seed), seed, score="return")
        learned(tmp_path / f"images {seed}", seed, data="glyphs")
    shown = rendered(tmp_path)
    plots = [a for a in shown.all("div") if "data-plot" in a]
    assert [(p["data-plot"], p["data-headline"], p["data-name"]) for p in plots] == [
        ("dots", "0", "accuracy"),
        ("dots", "1", "return"),
        ("curves", "0", "accuracy"),
        ("curves", "0", "loss"),
        ("curves", "1", "return"),
        ("curves", "1", "loss"),
    ]
    title = "return of an episode"
    expected = {"score": "return", "higher": True, "percent": False, "digits": 4, "title": title}
    assert shown.data["headlines"][1] == expected | {"loss": True}
    assert "test return of an episode of the best run by validation" in shown.words
    assert "return of the row minus return of the column;" in shown.words
    assert "lower is better" not in shown.words
    indices = [a.get("data-score") for a in shown.all("td") if a.get("class") == "number"]
    assert indices.count("1") == 6  # test, validation and over seeds, of two runs
    assert shown.data["runs"][2]["curves"]["val"]["ci95"] == [0.02] * 4


def test_the_number_of_plotted_scores_is_limited(tmp_path: Path) -> None:
    for i in range(15):
        headline = Headline(f"score{i}", higher_is_better=True).as_dict()
        learned(tmp_path / str(i), i, score=f"score{i}", headline=headline)
    shown = rendered(tmp_path)
    assert len(shown.data["headlines"]) == 12
    assert shown.words.count("test score") == 12
    assert "The best runs of 3 more tasks are in the table." in shown.words
    assert (
        sorted(run["headline"] is None for run in shown.data["runs"]) == [False] * 12 + [True] * 3
    )


def test_a_matrix_cell_agrees_with_compare(tmp_path: Path) -> None:
    from metarun.report import comparison, tested

    for seed in range(2):
        learned(tmp_path / str(seed), seed)
    shown = rendered(tmp_path)
    entries = rank(runs.find([tmp_path])).entries
    (pair,), _ = comparison.compare([tested.read_test(e.folder) for e in entries])
    description = next(a["title"] for a in shown.all("td") if "title" in a)
    mean, ci95 = 100 * pair.difference.mean, 100 * pair.difference.ci95
    assert f"{mean:+.2f} ± {ci95:.2f} points, p = {pair.p_holm:.2g}" in description
    assert ("is better" in description) == pair.significant


def test_matrix_labels_contain_only_keys_that_differ_within_the_group(tmp_path: Path) -> None:
    for seed in range(2):
        learned(tmp_path / f"a{seed}", seed)
        learned(tmp_path / f"b{seed}", seed, "maml", data="mini")
    shown = rendered(tmp_path)
    descriptions = [a["title"] for a in shown.all("td") if "title" in a]
    assert all(
        "seed" in text and "protonet" not in text and "maml" not in text for text in descriptions
    )
    assert len(descriptions) == 4


def test_a_run_without_validation_has_curves_and_progress(tmp_path: Path) -> None:
    folder = of_status(tmp_path / "a", "running")
    lines = curve().splitlines(keepends=True)
    train = [line for line in lines if json.loads(line)["split"] == "train"]
    (folder / "metrics.jsonl").write_text("".join(train[:31]))
    shown = rendered(tmp_path)
    assert shown.data["headlines"][shown.data["runs"][0]["headline"]]["score"] == "accuracy"
    assert "31 of 40" in shown.words
    assert [a for a in shown.all("div") if a.get("data-plot") == "curves"]


def test_omitted_curves_are_reported(tmp_path: Path, monkeypatch) -> None:
    learned(tmp_path / "a")
    learned(tmp_path / "b", 1)
    (tmp_path / "b/metrics.jsonl").write_text(curve(steps=200))
    monkeypatch.setattr(curves, "MAX_BYTES", 2 * len(curve()))
    words = rendered(tmp_path).words
    assert words.count("its curves are left out") == 1
    assert "The curves of 1 run are left out because metrics.jsonl is too large." in words


def test_the_summary_has_the_best_run_of_each_task(tmp_path: Path) -> None:
    learned(tmp_path / "a")
    learned(tmp_path / "b", 1)
    learned(tmp_path / "c", 2, shots=5)
    learned(tmp_path / "d", 3, data="glyphs")
    shown = rendered(tmp_path)
    best = [a for a in shown.all("p") if a.get("class") == "best"]
    assert len(best) == 3
    assert shown.words.count("of the best run by validation") == 1
    assert "each task ranked by validation" in shown.words


def test_the_summary_warns_of_selection_by_test_and_of_two_kinds_of_batch_norm(
    tmp_path: Path,
) -> None:
    learned(tmp_path / "a")
    learned(tmp_path / "b", 1)
    assert "by chance" not in rendered(tmp_path).words
    folder = learned(tmp_path / "c", 2, batch_norm="transductive")
    assert "Tests of one task differ in batch norm" in rendered(tmp_path).words
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {"val": None}))
    words = rendered(tmp_path).words
    assert "highest test accuracy" in words
    assert "partly best by chance" in words


def test_a_page_of_one_run(tmp_path: Path) -> None:
    shown = rendered(learned(tmp_path / "alone"))
    assert "1 run : 1 completed" in shown.words
    assert not [a for a in shown.all("table") if a.get("class") == "matrix"]
    assert "./result.json" in [a["href"] for a in shown.all("a")]


def test_a_page_without_finished_runs(tmp_path: Path) -> None:
    of_status(tmp_path / "a", "failed", error="no luck")
    assert not [a for a in rendered(tmp_path).all("div") if "data-plot" in a]


def test_a_run_outside_the_folder_of_the_page_has_no_links(tmp_path: Path) -> None:
    run = learned(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shown = Page(render(rank(runs.find([run])), [run], elsewhere))
    assert all(a["href"].startswith("#") for a in shown.all("a"))


def test_pictures_beyond_the_size_budget_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        learned(tmp_path / str(seed), seed)
    monkeypatch.setattr(page, "Album", lambda: Album(left=1))
    shown = rendered(tmp_path)
    assert len(shown.all("img")) == 1
    assert "2 episode pictures are left out" in shown.words
    assert shown.words.count("the size limit for pictures on this page is reached") == 2


def test_the_policy_allows_only_the_scripts_of_the_page(tmp_path: Path) -> None:
    shown = rendered(learned(tmp_path / "run"))
    (stated,) = (a["content"] for a in shown.all("meta") if "http-equiv" in a)
    rules = dict(rule.split(" ", 1) for rule in stated.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in stated
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'": text
        for text in [*shown.scripts, ""]
    }
    assert set(rules["script-src"].split()) | set(rules["style-src"].split()) <= set(hashes)
    assert len(rules["script-src"].split()) == 2
    before = shown.elements.index(("meta", next(a for a in shown.all("meta") if "http-equiv" in a)))
    assert [tag for tag, _ in shown.elements[:before]] == ["html", "head", "meta"]


def test_a_hostile_folder_adds_no_elements_and_attributes(tmp_path: Path) -> None:
    for seed in range(len(PAYLOADS)):
        learned(tmp_path / "kind" / str(seed), seed, f"algo{seed}", data=f"data{seed}")
    of_status(tmp_path / "kind" / "failed", "failed", error="no luck")
    learned(tmp_path / "kind" / "wave", 1, score="mse")
    (tmp_path / "evil").mkdir()
    hostile(tmp_path / "evil")
    shown = rendered(tmp_path / "evil")
    harmless = rendered(tmp_path / "kind")
    assert {tag for tag, _ in shown.elements} <= {tag for tag, _ in harmless.elements}
    names = {name for _, attributes in shown.elements for name in attributes}
    assert names <= {name for _, attributes in harmless.elements for name in attributes}
    addresses = [a["href"] for a in shown.all("a")]
    strange = [a for a in addresses if not re.match(r"#[\w-]+$|\./[\w%.~/-]+$", a)]
    assert strange == []
    assert not [a["src"] for a in shown.all("img") if not a["src"].startswith("data:image/webp;")]
    assert "root:x:0:0" not in shown.words
    assert not list(tmp_path.rglob("ran"))
    assert not set("\u202e\u2066\x00\x1b\ufeff") & set(shown.words + json.dumps(shown.data))


def test_very_long_values_are_truncated(tmp_path: Path) -> None:
    folder = learned(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    long = "x" * 10**7
    result["run"] |= {"algo": long, "command": f"metarun tags={long}", "seed": 10**4000}
    result["protocol"] |= {"augmentation": [long], "precision": {long: long}}
    result["val"]["accuracy"]["mean"] = 10**400
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text(long)
    text = render(rank(runs.find([folder])), [folder], folder)
    assert len(text) < 200_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["status", "error", "test", "val", "protocol", "run", "pruned"]), JSON)
def test_arbitrary_content_in_a_result(tmp_path_factory, part: str, content: Any) -> None:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        learned(folder / str(seed), seed)
        (folder / str(seed) / "episodes.png").unlink()
    file = folder / "0" / "result.json"
    whole = json.loads(file.read_text())
    original = whole.get(part)
    can_merge = isinstance(content, dict) and isinstance(original, dict)
    for value in (content, {**original, **content} if can_merge else content):
        file.write_text(json.dumps({**whole, part: value}))
        render(rank(runs.find([folder])), [folder], folder)


def nested(levels: int, kind: type) -> Any:
    value: Any = kind()
    for _ in range(levels):
        value = {"a": value} if kind is dict else [value]
    return value


STRANGE = {
    "deep": {"algo": nested(900, dict), "backbone": nested(900, list), "extra": nested(900, dict)},
    "many": {f"k{i}": i for i in range(20_000)},
    "of other types": {"ways": "5", "shots": [1], "data": {"a": 1}, "split": True, "batch_norm": 7},
    "of no text": {"data": "\ud800", "batch_norm": "\udfff", "split": "\x00"},
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_page_of_unusual_protocols(tmp_path: Path, kind: str) -> None:
    for seed in range(2):
        folder = learned(tmp_path / str(seed), seed)
        result = json.loads((folder / "result.json").read_text())
        result["protocol"] |= STRANGE[kind]
        result["run"] |= {"versions": nested(900, dict), "resumed_with": nested(900, list)}
        (folder / "result.json").write_text(json.dumps(result))
    text = render(rank(runs.find([tmp_path])), [tmp_path], tmp_path)
    assert len(text.encode()) < 200_000


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_data_round_trips_and_cannot_end_the_script(content: Any) -> None:
    text = as_data(content)
    assert json.loads(text) == content
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_the_policy_contains_the_hashes_of_the_scripts() -> None:
    assert "'unsafe" not in policy(["a"], ["b"])
    assert "script-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='" in policy(["a"], [])
