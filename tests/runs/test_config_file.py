"""`config.yaml` holds the composed configuration and is read back to an equal object."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError

from metarun.config.compose import checked, compose, plain
from metarun.errors import Refused
from metarun.runs.config_file import MARK, RESUMABLE, RETESTABLE, amend, keep_config, load_config
from tests.conftest import OWN

COMPOSED = [
    [],
    ["algo=maml", "data=sinusoid", "logger=none", "tags=[a,'1']", "threads=2", "out=a: b"],
    ["data=omniglot", "data.root=here", "augmentation=images", "optimizer=sgd", "seed=7"],
    ["experiment=[demo,maml/omniglot]", "precision=float64"],
    ["algo=nearest_item", "data=blobs", "debug=tiny"],
]


@pytest.mark.parametrize("typed", COMPOSED, ids=" ".join)
def test_the_file_equals_the_composed_configuration(tmp_path: Path, typed: list[str]) -> None:
    """The conversion to `RunConfig` does not change a byte of the file."""
    cfg = compose(typed, str(OWN))
    config = checked(cfg)
    keep_config(config, tmp_path)
    body, _, _ = (tmp_path / "config.yaml").read_bytes().rpartition(MARK.encode())
    composed = {**plain(cfg), "out": config.out}  # contains the time of composition
    assert body == OmegaConf.to_yaml(OmegaConf.create(composed)).encode()
    assert list(config.model_dump()) == [key for key in cfg if key != "hydra"]


@pytest.mark.parametrize("typed", COMPOSED, ids=" ".join)
def test_the_file_is_read_back_to_an_equal_configuration(tmp_path: Path, typed: list[str]) -> None:
    config = checked(compose(typed, str(OWN)))
    keep_config(config, tmp_path)
    assert amend(load_config(tmp_path, "run"), [], (), "resume", None) == config
    longer = amend(load_config(tmp_path, "run"), ["steps=12345"], RESUMABLE, "resume", None)
    assert longer == config.model_copy(update={"steps": 12345})


@pytest.mark.parametrize(
    "inner", ["checkpoints/last.pt", "checkpoints", "result.json", "evaluations/new/result.json"]
)
def test_a_file_in_a_run_names_the_folder(tmp_path: Path, inner: str) -> None:
    keep_config(checked(compose([])), tmp_path)
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / inner
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    line = f"resume={path}: is in the folder of a run; name that folder: resume={tmp_path}"
    with pytest.raises(Refused, match=re.escape(line)):
        load_config(path, "resume")


def test_a_folder_beside_another_config_yaml_holds_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    (tmp_path / "data").mkdir()
    with pytest.raises(Refused, match="holds no run: config"):
        load_config(tmp_path / "data", "run")


def test_a_configuration_is_frozen() -> None:
    config = checked(compose([]))
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.choices.algo = "maml"


def reseal(folder: Path, edit: Callable[[str], str]) -> None:
    """Edit `config.yaml` and give it the checksum of the new text, as anybody could."""
    file = folder / "config.yaml"
    text = edit(file.read_text().rpartition(MARK)[0])
    file.write_text(f"{text}{MARK}{hashlib.sha256(text.encode()).hexdigest()}\n")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run with its `config.yaml`."""
    (tmp_path / "run").mkdir()
    keep_config(checked(compose(["data=glyphs", "seed=3"])), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "line",
    [
        "tags: ['${oc.env:HOME}']",
        'tags: ["\\x24{oc.env:HOME}"]',  # written with an escape
        '"\\u0024{oc.env:HOME}": 1',  # in a key
    ],
)
def test_a_file_that_could_read_the_environment_is_refused(run: Path, line: str) -> None:
    reseal(run, lambda text: text.replace("tags: []", line))
    with pytest.raises(Refused, match=r"contains \$\{…\}, which metarun never writes"):
        load_config(run, "run")


REFERENCES = {
    "doubled": "a0: &a0 [x]\n"
    + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30)),
    "to itself": "tags: &a [*a]\n",
    "mappings": "a: &a {x: 1}\nb: {<<: *a}\n",
    "one, harmless": "a: &a 1\nb: *a\n",
}


@pytest.mark.parametrize("text", REFERENCES.values(), ids=REFERENCES)
def test_references_in_a_file_are_refused(run: Path, text: str) -> None:
    reseal(run, lambda old: old + text)
    with pytest.raises(
        Refused, match=r"contains a reference, \*a\d*, which metarun never"
    ) as refused:
        load_config(run, "run")
    assert len(refused.value.mistakes) == 1


@pytest.mark.parametrize(
    "text",
    [
        "- " * 40 + "x",
        "a: " + "{b: " * 40 + "1" + "}" * 40,
        "".join(f"k{i}: 1\n" for i in range(30_000)),
    ],
    ids=["lists", "mappings", "many keys"],
)
def test_a_file_of_another_size_is_refused(run: Path, text: str) -> None:
    (run / "config.yaml").write_text(text)
    with pytest.raises(Refused, match="more than 20000 values, or 30 levels"):
        load_config(run, "run")


def test_a_new_choice_with_a_key_without_a_value_takes_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.yaml").write_text("_target_: mine.Mine\ntable: ???\n")
    words = ["data.table=x", "data=mine"]
    config = amend(load_config(run, "run"), words, RETESTABLE, "evaluate", str(tmp_path))
    assert config.data == {"_target_": "mine.Mine", "table": "x", "train_on": "train"}
    with pytest.raises(Refused, match="has no value yet"):
        amend(load_config(run, "run"), words[1:], RETESTABLE, "evaluate", str(tmp_path))


def test_a_cache_that_the_user_did_not_choose_is_refused(run: Path, tmp_path: Path) -> None:
    """A file with a valid checksum may come from somebody else: data is prepared elsewhere."""
    cache = tmp_path / "elsewhere"
    reseal(run, lambda text: re.sub(r"(?m)^  cache: .*$", f"  cache: {cache}", text))
    for caller in ("resume", "evaluate", "audit"):
        with pytest.raises(Refused, match=f"data.cache={cache}: is neither .* nor holds data"):
            amend(load_config(run, "run"), ["device=cpu"], RESUMABLE, caller, None)
    typed = amend(load_config(run, "run"), [f"data.cache={cache}"], RESUMABLE, "resume", None)
    assert typed.data["cache"] == str(cache)
    (cache / "glyphs_28").mkdir(parents=True)
    (cache / "glyphs_28/metarun_index.json").write_text("{}")
    assert amend(load_config(run, "run"), [], (), "resume", None).data["cache"] == str(cache)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (r"data_home: .*", "data_home: 3", "data_home=3: should be a valid string"),
        (r"steps: \d+", "steps: x", "steps=x: should be a valid integer"),
        (r"steps: \d+", "", "steps: missing"),
        (r"tags: \[\]", "tags: {a: 1}", r"tags=.*: should be a valid list"),
        (r"(?s)choices:\n.*?\nbackbone", "choices: 3\nbackbone", "choices=3: "),
        (r"(?s)\ndata:\n.*", "\ndata: x\n", "data=x: should be a valid dictionary"),
    ],
)
def test_a_value_of_another_type_is_refused(
    run: Path, before: str, after: str, reason: str
) -> None:
    reseal(run, lambda text: re.sub(rf"(?m)^{before}" if before[0] != "(" else before, after, text))
    with pytest.raises(Refused, match=rf"config.yaml: {reason}"):
        load_config(run, "run")


@pytest.mark.parametrize("place", ['"a\\0b"', "~nobody-of-that-name/x", "/dev/null", "''"])
def test_a_path_that_cannot_exist_is_refused(run: Path, place: str) -> None:
    reseal(run, lambda text: re.sub(r"(?m)^  cache: .*$", lambda _: f"  cache: {place}", text))
    reseal(run, lambda text: re.sub(r"(?m)^data_home: .*$", "data_home: ~nobody/x", text))
    with pytest.raises(Refused, match=r"data\.cache="):
        amend(load_config(run, "run"), [], RESUMABLE, "resume", None)
