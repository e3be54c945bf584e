"""Predictions without a run: features of a frozen network, and a head that the support fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metarun import cli
from metarun.backbones.conv4 import Conv4
from tests.commands.test_predict import Metarun, by_pillow, record, rows, scores
from tests.conftest import blank
from tests.predict.material import pictures

SUPPORT = {"ant": 2, "cow": 3, "dog": 4}
NET = ("backbone=conv4", "backbone.filters=4")
GREY = ("data.size=16", "data.colour=false")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run on grey pictures of 16×16 pixels."""
    home = tmp_path_factory.mktemp("pretrained")
    root = pictures(home / "photos", dict.fromkeys("abcdef", 4))
    words = (f"data.root={root}", "data=image_folder", *GREY, *NET, "ways=2", "queries=2")
    words += ("steps=1", "eval_every=1", "debug=tiny", "threads=1", f"out={home / 'run'}")
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        assert cli.main([*words]) == 0
    yield home / "run"


@pytest.fixture
def predict(metarun: Metarun) -> Metarun:
    """Runs `metarun predict` in a folder with a support and a query."""
    pictures(Path("support"), SUPPORT)
    pictures(Path("query"), {"ant": 3, "dog": 2}, first=10)

    def call(*words: str) -> tuple[int, str, list[str]]:
        return metarun("predict", "support=support", "query=query", *words)

    return call


def of_support() -> tuple[list[str], Tensor]:
    """Files and labels of the support."""
    files = [f"support/{c}/{n:02d}.png" for c, count in SUPPORT.items() for n in range(count)]
    return files, torch.arange(3).repeat_interleave(torch.tensor(list(SUPPORT.values())))


def negative_distances(support: Tensor, y: Tensor, query: Tensor) -> Tensor:
    means = torch.stack([support[y == label].mean(0) for label in range(3)])
    return -(query[:, None] - means).square().sum(-1)


def weights_of(run: Path) -> dict[str, Tensor]:
    state = torch.load(run / "checkpoints/best.pt", weights_only=True)["learner"]
    return {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}


def test_features_are_centred_by_the_mean_of_the_support(
    predict: Metarun, pretrained: Path
) -> None:
    """SimpleShot without training classes; network and preparation are those of the run."""
    code, _, err = predict("algo=simpleshot", f"backbone.weights={pretrained}", "out=new")
    assert (code, err) == (0, [])
    net = Conv4((1, 16, 16), filters=4)
    net.load_state_dict(weights_of(pretrained))
    files, y = of_support()
    with torch.no_grad():
        z, q = (net.eval()(by_pillow(f)) for f in (files, [row["item"] for row in rows("new")]))
    z, q = (F.normalize(features - z.mean(0), dim=1) for features in (z, q))
    np.testing.assert_allclose(scores("new"), negative_distances(z, y, q), rtol=1e-3, atol=1e-5)
    kept = record("new")
    assert kept["pretraining"]["run"] == "run"
    assert (kept["algo"], kept["backbone"], kept["data"]) == ("simpleshot", "conv4", "image_folder")
    assert kept["weights"] == str(pretrained)
    assert not {"run", "run_id"} & kept.keys()
    assert kept["accuracy"]["items"] == 5


@pytest.mark.parametrize("algo", ["protonet", "linear_probe"])
def test_weights_of_a_file_are_those_of_the_run(
    predict: Metarun, pretrained: Path, algo: str
) -> None:
    torch.save(weights_of(pretrained), "net.pt")
    words = (f"algo={algo}", *NET, "unknown_below=0.2", "threads=1", "device=cpu")
    _, out, _ = predict(*words, *GREY, "backbone.weights=net.pt", "out=file")
    assert "features: conv4, trained on unknown data (net.pt); nothing was trained here" in out
    assert predict(*words, f"backbone.weights={pretrained}", "out=run")[0] == 0
    np.testing.assert_array_equal(scores("file"), scores("run"))
    assert record("file")["pretraining"]["seen"] == "unknown"
    assert {"file", "sha256"} < record("file")["pretraining"].keys()


def test_pixels_are_compared_without_a_network(predict: Metarun) -> None:
    code, _, err = predict("algo=nearest_centroid", "backbone=identity", *GREY, "out=new")
    assert (code, err) == (0, [])
    files, y = of_support()
    z, q = (by_pillow(f).flatten(1) for f in (files, [row["item"] for row in rows("new")]))
    np.testing.assert_allclose(scores("new"), negative_distances(z, y, q), rtol=1e-3, atol=1e-5)
    assert record("new")["pretraining"] is None


def test_the_folder_is_new_in_the_working_directory(predict: Metarun) -> None:
    for _ in range(2):
        code, out, _ = predict("algo=nearest_neighbour", *GREY)
        page = Path(out.splitlines()[-1])
        assert (code, page.parts[0], page.name) == (0, "predictions", "predictions.html")
        assert "labelled by nearest_neighbour on features of identity" in page.read_text("utf-8")
    assert len(list(Path("predictions").iterdir())) == 2


def test_pictures_have_the_size_of_the_network_unless_it_is_typed(predict: Metarun) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    for file in [*Path("query").rglob("*.png")][1:]:
        file.unlink()
    pictures(Path("few"), {"ant": 1, "dog": 1})
    words = ("algo=simpleshot", "backbone=efficientnet_lite0", "support=few")
    code, out, err = predict(*words, "out=new")
    assert (code, err) == (0, [])
    line = "features: efficientnet_lite0, trained on ImageNet-1k; nothing was trained here"
    assert line in out.splitlines()
    assert record("new")["shape"] == [3, 224, 224]
    assert record("new")["pretraining"] == {"network": "efficientnet_lite0", "seen": "ImageNet-1k"}
    assert predict(*words, "data.size=32", "data.colour=false", "out=small")[0] == 0
    assert record("small")["shape"] == [1, 32, 32]


def test_sentences_are_counts_of_n_grams(metarun: Metarun) -> None:
    Path("s.csv").write_text(
        "text,label\nmy card is lost,card\na lost card,card\nhow do I pay,pay\n"
    )
    Path("s").mkdir()
    Path("s/card.txt").write_text("my card is lost\na lost card\n")
    Path("s/pay.txt").write_text("how do I pay\n")
    Path("q.txt").write_text("I lost my card\nhow can I pay this\n")
    for support in ("s.csv", "s"):
        words = ("algo=nearest_centroid", f"support={support}", "query=q.txt", f"out=of_{support}")
        code, _, err = metarun("predict", *words, "backbone=identity")
        assert (code, err) == (0, [])
        assert [row["label"] for row in rows(f"of_{support}")] == ["card", "pay"]
    np.testing.assert_array_equal(scores("of_s.csv"), scores("of_s"))
    assert json.loads(Path("of_s/prediction.json").read_text())["data"] == "banking77"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "predict: run= or algo= missing: metarun predict run=RUN_DIR support=DIR query=PATH"),
        (("algo=simpleshot", "run=RUN"), "run=RUN algo=simpleshot: name one of them; metarun pre"),
        (("algo=simpleshot",), "backbone=conv4_strided: its weights are random; name trained ones"),
        (("algo=maml", "backbone=identity"), "algo=maml: has weights to train; train a run (metar"),
        (("algo=maml", *NET, *GREY, "backbone.weights=W"), "algo=maml: has weights to train; "),
        (("algo=simpleshot", *NET, "backbone.weights=none"), "backbone.weights="),
        (
            ("algo=simpleshot", "backbone=conv4", *GREY, "backbone.weights=W"),
            "backbone.weights=W: the weights do not fit the backbone: ",
        ),
        (
            ("algo=simpleshot", *NET, "backbone.weights=W", "backbone.frozen=false"),
            "backbone.frozen=false: predict trains nothing; leave it out",
        ),
        (("algo=nearest_centroid", "shots=5"), "shots: predict cannot change it; it can change al"),
        (("algo=nearest_centroid", "data=sinusoid"), "data=sinusoid: it cannot prepare items of"),
        (("algo=simpelshot",), "algo=simpelshot: no such choice; did you mean simpleshot?"),
        (("algo=nearest_centroid", "algo.nearness=1"), "algo.nearness: no such key"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    predict: Metarun, pretrained: Path, words: tuple[str, ...], line: str
) -> None:
    torch.save(weights_of(pretrained), "W")
    before = sorted(Path().rglob("*"))
    code, _, err = predict(*words)
    assert (code, len(err)) == (2, 1)
    found = err[0].removeprefix("metarun: ").replace(f"{Path().absolute()}/", "")
    assert found.startswith(line)
    assert sorted(Path().rglob("*")) == before
