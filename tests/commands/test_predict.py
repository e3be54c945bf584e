"""`metarun predict`: labels from a trained run, written and shown, or a refusal of one line."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from metarun import cli
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.conv4 import Conv4
from metarun.data.banking77 import BANKING77
from metarun.data.classes import Facts, Images, select
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples, Spec
from tests.conftest import OWN, TINY, blank
from tests.predict.material import picture, pictures
from tests.report.test_page import Page

Metarun = Callable[..., tuple[int, str, list[str]]]
DATA = ("data=image_folder", "data.size=16", "data.colour=false", "debug=tiny", "threads=1")
SMALL = (*DATA, "backbone.filters=4", "ways=2", "queries=2", "steps=1", "eval_every=1")
SUPPORT = {"ant": 2, "cow": 3, "dog": 4}
WORDS = ("support=support", "query=query")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two runs, whose pictures are deleted afterwards."""
    home = tmp_path_factory.mktemp("trained")
    root = pictures(home / "photos", dict.fromkeys("abcdef", 4))
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        for algo in ("protonet", "maml"):
            words = (f"data.root={root}", f"algo={algo}", f"out={home / algo}")
            assert cli.main([*SMALL, *words]) == 0
    shutil.rmtree(root)
    yield home


@pytest.fixture
def predict(metarun: Metarun, trained: Path) -> Metarun:
    """Runs `metarun predict` in a folder with copies of the runs, a support and a query."""
    shutil.copytree(trained, ".", dirs_exist_ok=True)
    pictures(Path("support"), SUPPORT)
    pictures(Path("query"), {"ant": 3, "dog": 2}, first=10)

    def call(*words: str) -> tuple[int, str, list[str]]:
        return metarun("predict", *words)

    return call


def rows(folder: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(folder, "predictions.csv").read_text("utf-8"))))


def record(folder: str | Path) -> dict[str, Any]:
    return json.loads(Path(folder, "prediction.json").read_text("utf-8"))


def scores(folder: str | Path) -> np.ndarray:
    return np.array(
        [[float(v) for k, v in row.items() if k.startswith("score:")] for row in rows(folder)]
    )


def by_pillow(files: list[str]) -> torch.Tensor:
    """Grey pictures of 16×16 pixels, (items, 1, 16, 16) in [0, 1]."""
    size = (16, 16)
    images = [Image.open(file).resize(size, Image.Resampling.BILINEAR) for file in files]
    return torch.from_numpy(np.stack([np.asarray(i, np.float32) / 255 for i in images]))[:, None]


def test_scores_are_the_logits_of_the_learner_and_probabilities_their_softmax(
    predict: Metarun,
) -> None:
    assert predict("run=protonet", *WORDS, "out=new")[0] == 0
    learner = ProtoNet(Conv4((1, 16, 16), filters=4), Spec((1, 16, 16), 2, CLASSIFICATION))
    state = torch.load("protonet/checkpoints/best.pt", weights_only=True)["learner"]
    learner.load_state_dict(state)
    learner.eval()
    files = [f"support/{c}/{n:02d}.png" for c, count in SUPPORT.items() for n in range(count)]
    y = torch.arange(3).repeat_interleave(torch.tensor(list(SUPPORT.values())))
    with torch.no_grad():
        model = learner.adapt(Examples(by_pillow(files), y, CLASSIFICATION, 3))
        expected = model(by_pillow([row["item"] for row in rows("new")])).numpy()
    np.testing.assert_allclose(scores("new"), expected, rtol=1e-4, atol=1e-5)
    temperature = record("new")["calibration"]["temperature"]
    shares = softmax(scores("new") / temperature, axis=1)
    for row, share in zip(rows("new"), shares, strict=True):
        assert row["label"] == ["ant", "cow", "dog"][share.argmax()]
        assert float(row["probability"]) == pytest.approx(share.max(), abs=1e-5)


def test_a_label_depends_neither_on_the_other_items_nor_on_their_order(predict: Metarun) -> None:
    """MAML is transductive as published."""
    pictures(Path("two"), {"ant": 3, "cow": 2})
    code, out, err = predict("run=maml", "support=two", "query=query", "out=all")
    assert (code, err) == (0, [])
    line = "batch norm: inductive, so that no label depends on the other items (the run is tran"
    assert line in out
    assert (record("all")["batch_norm"], record("all")["algo"]) == ("inductive", "maml")
    files = [row["item"] for row in rows("all")]
    Path("list.txt").write_text("\n".join(reversed(files)))
    assert predict("run=maml", "support=two", "query=list.txt", "out=reversed")[0] == 0
    assert [row["item"] for row in rows("reversed")] == files[::-1]
    np.testing.assert_allclose(scores("reversed")[::-1], scores("all"), rtol=1e-5, atol=1e-6)
    for i, file in list(enumerate(files))[::2]:
        assert predict("run=maml", "support=two", f"query={file}", f"out={i}")[0] == 0
        np.testing.assert_allclose(scores(f"{i}")[0], scores("all")[i], rtol=1e-5, atol=1e-6)
        assert rows(f"{i}")[0]["label"] == rows("all")[i]["label"]


def test_every_prediction_has_a_new_folder_and_the_run_stays_as_it_is(predict: Metarun) -> None:
    before = {p: p.read_bytes() for p in Path("protonet").rglob("*") if p.is_file()}
    for _ in range(2):
        code, out, _ = predict("run=protonet", *WORDS)
        page = Path(out.splitlines()[-1])
        assert (code, page.parent.parent) == (0, Path("protonet/predictions"))
        names = {"predictions.csv", "predictions.html", "prediction.json"}
        assert {p.name for p in page.parent.iterdir()} == names
    assert len(list(Path("protonet/predictions").iterdir())) == 2
    assert all(path.read_bytes() == content for path, content in before.items())
    assert predict("run=protonet", *WORDS, "out=new")[0] == 0
    written = Path("new/predictions.csv").read_bytes()
    code, _, err = predict("run=protonet", *WORDS, "out=new")
    assert (code, err) == (2, ["metarun: out=new: is there already; choose another name"])
    assert Path("new/predictions.csv").read_bytes() == written


def test_the_terminal_has_the_first_items_counts_and_how_far_to_trust_them(
    predict: Metarun,
) -> None:
    code, out, err = predict("run=protonet", *WORDS, "out=new")
    assert (code, err) == (0, [])
    lines = [line.split() for line in out.splitlines()]
    for row in rows("new"):
        assert [row["item"], row["label"], f"{float(row['probability']):.2f}"] in lines
    labels = [row["label"] for row in rows("new")]
    assert all([name, str(labels.count(name))] in lines for name in SUPPORT)
    kept = record("new")
    assert kept["labels"] == {name: labels.count(name) for name in SUPPORT}
    assert kept["support_items"] == SUPPORT
    left_out, accuracy = kept["calibration"]["left_out"], kept["accuracy"]
    assert (left_out["items"], accuracy["items"]) == (9, 5)
    right = sum(row["label"] == row["truth"] for row in rows("new"))
    assert accuracy["accuracy"] == right / 5
    assert f"leave-one-out on the support: {100 * left_out['accuracy']:.1f} % (" in out
    assert f"accuracy: {100 * right / 5:.1f} % (" in out
    state = torch.load("protonet/checkpoints/best.pt", weights_only=True)
    assert (kept["run_id"], kept["checkpoint_step"]) == (state["id"], state["step"])


def test_probabilities_are_not_calibrated_by_a_class_of_one_item(predict: Metarun) -> None:
    pictures(Path("one"), {"ant": 1, "dog": 3})
    _, out, _ = predict("run=protonet", "support=one", "query=query", "out=new")
    assert "probabilities are not calibrated: a class of the support has a single item" in out
    assert record("new")["calibration"] is None
    expected = softmax(scores("new"), axis=1).max(1)
    found = [float(row["probability"]) for row in rows("new")]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_doubtful_items_are_unknown(predict: Metarun) -> None:
    assert predict("run=protonet", *WORDS, "out=all")[0] == 0
    shares = sorted(float(row["probability"]) for row in rows("all"))
    limit = (shares[1] + shares[2]) / 2
    assert predict("run=protonet", *WORDS, f"unknown_below={limit}", "out=new")[0] == 0
    assert [row["label"] for row in rows("new")].count("unknown") == 2
    assert record("new")["unknown_below"] == limit


def test_unreadable_items_are_named_and_the_others_labelled(predict: Metarun) -> None:
    Path("query/dog/broken.jpg").write_bytes(b"\xff\xd8\xff")
    Path("query/empty.png").touch()
    code, out, err = predict("run=protonet", *WORDS, "out=new")
    assert (code, err) == (0, [])
    assert "unreadable: query/empty.png (empty)" in out.splitlines()
    notes = {row["item"]: row["note"] for row in rows("new") if row["label"] == "unreadable"}
    assert set(notes) == {"query/dog/broken.jpg", "query/empty.png"}
    assert record("new")["accuracy"]["items"] == 5
    code, _, err = predict("run=protonet", "support=support", "query=query/dog/broken.jpg")
    assert (code, len(err)) == (2, 2)
    assert err[0] == "metarun: query=query/dog/broken.jpg: no item can be read"
    assert err[1].startswith("metarun: query/dog/broken.jpg: unreadable (")
    assert not Path("protonet/predictions").exists()


def test_an_item_that_is_in_the_support_is_named(predict: Metarun) -> None:
    shutil.copy("support/cow/01.png", "query/copy.png")
    _, out, _ = predict("run=protonet", *WORDS, "out=new")
    line = "items that are in the support, too: 1 (query/copy.png = support/cow/01.png)"
    assert line in out.splitlines()
    notes = [row["note"] for row in rows("new") if row["item"] == "query/copy.png"]
    assert notes == ["in the support: support/cow/01.png"]


def test_the_truth_is_found_by_content(predict: Metarun) -> None:
    files = sorted(Path("query").rglob("*.png"))
    for number, file in enumerate(files):
        copy = Path("flat", f"{number}.png")
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(file, copy)
    words = ("run=protonet", "support=support")
    assert predict(*words, "query=query", "out=named")[0] == 0
    assert predict(*words, "query=flat", "out=unnamed")[0] == 0
    assert record("unnamed")["accuracy"] is None
    assert predict(*words, "query=flat", "truth=query", "out=known")[0] == 0
    assert record("known")["accuracy"] == record("named")["accuracy"]
    assert [row["truth"] for row in rows("known")] == [file.parent.name for file in files]


def test_the_page_is_one_file_that_shows_names_as_text(predict: Metarun) -> None:
    hostile = "query/<img src=x onerror=alert(1)>.png"
    shutil.copy("query/ant/10.png", hostile)
    assert predict("run=protonet", *WORDS, "unknown_below=0.5", "out=new")[0] == 0
    page = Page(Path("new/predictions.html").read_text("utf-8"))
    text = " ".join(" ".join(page.text).split())
    assert hostile in text
    assert all(row["item"] in text for row in rows("new"))
    assert page.all("script") == []
    images = page.all("img")
    assert len(images) == len(rows("new")) + sum(SUPPORT.values())
    assert all(not any(key.startswith("on") for key in image) for image in images)
    for image in images:
        data = image["src"].removeprefix("data:image/webp;base64,")
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (16, 16)
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert len(policies) == 1 and policies[0].startswith("default-src 'none'; img-src data:")


def test_pictures_of_16_bits_have_the_range_of_the_run(predict: Metarun) -> None:
    result = json.loads(Path("protonet/result.json").read_text())
    for high in (4095, 65535):
        result["protocol"]["pixels"]["range"] = [0, high]
        Path("protonet/result.json").write_text(json.dumps(result))
        grey = np.full((16, 16), high // 2, np.uint16)
        Image.fromarray(grey).save("grey.png")
        words = ("run=protonet", "support=support", "query=grey.png", f"out=of_{high}")
        assert predict(*words)[0] == 0
        assert record(f"of_{high}")["wide_pixel_range"] == [0, high]
    np.testing.assert_allclose(scores("of_4095"), scores("of_65535"), rtol=0.05)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "predict: run= or algo=, support=, query= missing: metarun pr"),
        (("run=protonet",), "predict: support=, query= missing: metarun predict run=RUN_DIR"),
        (("run=none", *WORDS), "run=none: no such folder"),
        (("run=protonet", "support=none", "query=query"), "support=none: no such folder; it"),
        (("run=protonet", "support=flat", "query=query"), "support=flat: no classes; it should"),
        (("run=protonet", "support=gap", "query=query"), "support=gap: the class cow has no pic"),
        (("run=protonet", "support=twice", "query=query"), "support=twice: twice/ant/00.png and"),
        (("run=protonet", "support=broken", "query=query"), "broken/ant/00.png: cannot be read ("),
        (("run=protonet", "support=taken", "query=query"), "support=taken: a class is called unr"),
        (("run=protonet", "support=support", "query=gap/cow"), "query=gap/cow: no pictures (.jpg"),
        (("run=protonet", "support=support", "query=none"), "query=none: no such file or folder"),
        (("run=protonet", *WORDS, "truth=flat"), "truth=flat: no classes; it should hold a fol"),
        (("run=protonet", *WORDS, "truth=gap2"), "truth=gap2: holds no item of the query"),
        (("run=protonet", *WORDS, "unknown_below=60%"), "unknown_below=60%: should be a number"),
        (("run=protonet", *WORDS, "unknown_below=1"), "unknown_below=1: should be a number betw"),
        (("run=protonet", *WORDS, "out=gap"), "out=gap: is there already; choose another name"),
        (("run=protonet", *WORDS, "out=no/x"), "out=no/x: no is not a folder"),
        (("run=protonet", *WORDS, "shots=3"), "shots: predict cannot change it; it can change d"),
        (("run=protonet", *WORDS, "-m"), "-m: this command does not take it"),
        (
            ("run=maml", *WORDS),
            "support=support: has 3 classes; maml has a head for each label and this run 2 of them",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(predict, words, line) -> None:
    picture(Path("flat/0.png"), 0, 0)
    pictures(Path("gap"), {"ant": 1})
    pictures(Path("gap2"), {"ant": 1}, first=30)
    Path("gap/cow").mkdir()
    pictures(Path("twice"), {"ant": 1, "dog": 1})
    shutil.copy("twice/ant/00.png", "twice/dog/copy.png")
    pictures(Path("broken"), {"ant": 1, "dog": 1})
    Path("broken/ant/00.png").write_bytes(b"broken")
    pictures(Path("taken"), {"unreadable": 1, "dog": 1})
    before = sorted(Path().rglob("*"))
    code, _, err = predict(*words)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"metarun: {line}")
    assert sorted(Path().rglob("*")) == before


def test_a_full_disk_leaves_no_folder(predict: Metarun, monkeypatch: pytest.MonkeyPatch) -> None:
    from metarun.predict import prediction

    def full(path: Path, data: bytes | str) -> None:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(prediction, "write_whole", full)
    Path("empty").mkdir()
    for words in ((), ("out=empty/new",)):
        code, _, err = predict("run=protonet", *WORDS, *words)
        assert (code, len(err)) == (2, 1)
        assert err[0].endswith("cannot be written to (No space left on device)")
    assert not Path("protonet/predictions").exists()
    assert list(Path("empty").iterdir()) == []


def test_data_without_items_of_the_user_is_refused_by_name(metarun: Metarun) -> None:
    words = ("ways=2", "algo=nearest_centroid", "backbone=identity", "out=run")
    assert metarun(*TINY[:-2], *words)[0] == 0
    own = ("--config-dir", str(OWN))
    code, _, err = metarun("predict", "run=run", "support=s", "query=q", *own)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: run=run: was trained on data=blobs, which cannot prepare")


def test_sentences_are_labelled_by_sentences(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = {f"topic{n}": [f"word{n} number {k} of it" for k in range(5)] for n in range(6)}

    def load(self: BANKING77) -> dict[str, Any]:
        items = np.concatenate([self.prepare_own(topic) for topic in topics.values()])
        images, names = Images.of(items, list(topics), [5] * 6), list(topics)
        return {s: select(images, names[i::3]) for i, s in enumerate(("train", "val", "test"))}

    monkeypatch.setattr(BANKING77, "load", load)
    monkeypatch.setattr(
        BANKING77, "facts", lambda self: dict.fromkeys(("train", "val", "test"), Facts(2, 5))
    )
    words = ("data=banking77", "data.features=512", "ways=2", "queries=2", "debug=tiny")
    assert metarun(*words, "algo=nearest_centroid", "backbone=identity", "out=run")[0] == 0
    Path("s.csv").write_text(
        "text,label\nmy card is lost,card\na lost card,card\nhow do I pay,pay\n"
    )
    Path("q.txt").write_text("I lost my card\nhow can I pay this\n<b>pay</b>\n")
    Path("t.csv").write_text("text,label\nI lost my card,card\nhow can I pay this,card\n")
    code, out, err = metarun(
        "predict", "run=run", "support=s.csv", "query=q.txt", "truth=t.csv", "out=new"
    )
    assert (code, err) == (0, [])
    found = [(row["item"], row["label"], row["truth"]) for row in rows("new")]
    assert found == [
        ("I lost my card", "card", "card"),
        ("how can I pay this", "pay", "card"),
        ("<b>pay</b>", "pay", ""),
    ]
    assert "accuracy: 50.0 % (" in out
    text = " ".join(Page(Path("new/predictions.html").read_text("utf-8")).text)
    assert all(item in text for item, _, _ in found)
