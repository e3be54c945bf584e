"""Pretrained token embeddings, from their package."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

from metarun.backbones.wordllama import WordLlama
from metarun.config.compose import compose
from metarun.data.tokens import NO_TOKEN, package_folder, token_ids
from metarun.errors import Refused
from tests.data.test_banking77 import rows, small, written  # noqa: F401

pytest.importorskip("tokenizers", reason="extra `pretrained`")

Metarun = Callable[..., tuple[int, str, list[str]]]
SENTENCES = ["I lost my card", "my card is lost", "How do I transfer money to a friend?", "£5"]


def ids(tokens: int, sentences: list[str] = SENTENCES) -> torch.Tensor:
    return torch.from_numpy(token_ids(sentences, tokens))


def test_features_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # called by its import
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
    from wordllama.inference import WordLlamaInference

    (weights,) = load_file(next((package_folder() / "weights").glob("*.safetensors"))).values()
    file = package_folder() / "tokenizers" / "l2_supercat_tokenizer_config.json"
    reference = WordLlamaInference(weights, Tokenizer.from_file(str(file)))
    expected = 2 * reference.embed(SENTENCES, norm=True)
    net = WordLlama((32,), tokens=32, scale=2.0)
    with torch.no_grad():
        np.testing.assert_allclose(net(ids(32)).numpy(), expected, rtol=1e-4, atol=1e-5)
        doubled = net.double()(ids(32))
    assert (net.features, doubled.dtype) == (256, torch.float64)


def test_the_length_of_items_does_not_matter_and_no_sentence_has_no_features() -> None:
    nets = [WordLlama((length,), tokens=length) for length in (12, 40)]
    short, long = (net(ids(n, [*SENTENCES, ""])) for net, n in zip(nets, (12, 40), strict=True))
    torch.testing.assert_close(short, long)
    assert not short[-1].any()


def test_only_the_tokens_of_a_sentence_are_fine_tuned() -> None:
    net, x = WordLlama((16,), tokens=16), ids(16, ["my card", ""])
    net(x).sum().backward()
    changed = net.weight.grad.any(1).nonzero().squeeze(1).tolist()
    assert changed == sorted(set(x[x != NO_TOKEN].tolist()))


def test_several_tasks_can_adapt_together_with_second_derivatives() -> None:
    """One inner step of MAML with `engine=vmap`, derived by the initial weights."""
    net, x = WordLlama((8,), tokens=8, scale=1.0), ids(8).view(2, 2, 8)

    def loss(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return functional_call(net, {"weight": weight}, x).pow(4).sum()

    def after_a_step(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(loss(weight, x), weight, create_graph=True)
        return loss(weight - 0.1 * gradient, x)

    def by_func(weight: torch.Tensor) -> torch.Tensor:
        step = vmap(lambda x: loss(weight - 0.1 * torch.func.grad(loss)(weight, x), x))
        return step(x).sum()

    expected = torch.autograd.grad(sum(after_a_step(net.weight, task) for task in x), net.weight)
    torch.testing.assert_close(torch.func.grad(by_func)(net.weight), expected[0])


@pytest.mark.parametrize("shape", [(2048,), (1, 28, 28), (127,)])
def test_other_items_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Refused, match="takes sentences as 128 token ids"):
        WordLlama(shape)


def test_sentences_are_prepared_for_the_chosen_backbone() -> None:
    assert compose(["data=banking77"]).data.tokens is None
    assert compose(["data=banking77", "backbone=wordllama"]).data.tokens == 128
    typed = ["data=clinc150", "backbone=wordllama", "backbone.tokens=20"]
    assert compose(typed).data.tokens == 20


@pytest.fixture
def run(metarun: Metarun, request: pytest.FixtureRequest) -> Metarun:
    """Runs metarun on a few sentences of BANKING77's format."""
    written(Path("sentences"), request.getfixturevalue("small"))
    words = ["data=banking77", "data.root=sentences", "queries=1", "debug=tiny", "threads=1"]
    return lambda *more: metarun(*words, *more)


def result(out: str) -> dict:
    return json.loads(Path(out, "result.json").read_text("utf-8"))


def test_frozen_and_fine_tuned_runs(run: Metarun, metarun: Metarun) -> None:
    wordllama = ["backbone=wordllama", "backbone.tokens=16"]
    for algo, more in {
        "simpleshot": ["out=frozen"],
        "protonet": ["backbone.frozen=false", "steps=1", "out=tuned"],
    }.items():
        code, _, err = run(f"algo={algo}", *wordllama, *more)
        assert code == 0, err
    protocol = result("frozen")["protocol"]
    assert protocol["pretraining"]["network"] == "wordllama"
    assert "Llama 2" in protocol["pretraining"]["seen"]
    assert protocol["data_settings"]["tokens"] == 16
    Path("s.csv").write_text("text,label\nmy card was stolen,lost\nwire money abroad,transfer\n")
    Path("q.txt").write_text("a thief has my card\nsend cash to another country\n")
    for run_dir in ("frozen", "tuned"):
        code, _, err = metarun("predict", f"run={run_dir}", "support=s.csv", "query=q.txt", "out=p")
        assert code == 0, err
        labels = [row.split(",")[1] for row in Path("p/predictions.csv").read_text().splitlines()]
        assert labels[1:] == ["lost", "transfer"]
        Path("p").rename(f"of_{run_dir}")


def test_items_of_another_form_are_refused(run: Metarun) -> None:
    for words, reason in {
        ("backbone=ngrams", "data.tokens=16"): "data.tokens=16: backbone=ngrams takes n-grams",
        ("backbone=wordllama", "data.tokens=null"): (
            "data.tokens=null: backbone=wordllama takes 128 token ids"
        ),
    }.items():
        code, _, err = run(*words, "out=run")
        assert (code, Path("run").exists()) == (2, False)
        assert err[-1].startswith(f"metarun: {reason}; leave data.tokens out")
