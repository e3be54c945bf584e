"""README.md and docs/ are correct: commands are valid, links lead somewhere, listings are files."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from metarun import cli, commands
from metarun import train as training
from metarun.config.completion import KEYS
from metarun.config.groups import conf_dir
from metarun.config.overrides import keys
from metarun.config.schema import GROUPS
from metarun.sweeps import launchers
from metarun.sweeps.job import Job
from metarun.training import display, parts, splits
from tests.conftest import OWN, blank

Metarun = Callable[..., tuple[int, str, list[str]]]
ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = OWN / "example"

# Folders that the pages name. The tests run every command where these exist.
RUNS = ("RUN_DIR", "RUN_A", "RUN_B", "runs/maml", "runs/protonet", "runs/lake")
RUNS += (
    "runs/protonet_words",
    "runs/centroid_words",
    "runs/ratings_melu",
    "runs/ratings_user_mean",
)
SWEEP, SEARCH = "SWEEP_DIR", "search"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
IN_BLOCK = re.compile(
    r"^(?:\$ )?metarun (?P<alone>.+)$|^eval \"\$\(metarun (?P<quoted>.+)\)\"$", re.MULTILINE
)
END_OF_COMMAND = ("|", "||", "&&", ";", ">", ">>")


@dataclass(frozen=True)
class Command:
    """A `metarun` command line of a page, without the word `metarun`.

    Attributes:
        inline: it stands in running text.
        errors: the error lines that the page shows below it.
    """

    page: str
    line: int
    words: tuple[str, ...]
    inline: bool = False
    errors: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {shlex.join(self.words)}"

    @property
    def is_name(self) -> bool:
        """Only the name of a command is mentioned, as in `metarun evaluate`."""
        return self.inline and len(self.words) == 1 and self.words[0].isidentifier()


def without_fences(text: str) -> str:
    """The text with blank lines in place of fenced blocks."""
    return FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)


def commands_in(text: str, page: str = "page") -> list[Command]:
    """Every `metarun` command line, in fenced blocks and in inline code, in the page's order."""
    found: list[Command] = []
    for match in FENCE.finditer(text):
        first = text.count("\n", 0, match.start(2)) + 1
        block = match[2].replace("\\\n", "\0")  # a continued line
        for line in IN_BLOCK.finditer(block):
            number = first + len(re.findall(r"[\n\0]", block[: line.start()]))
            words = _words(line["alone"] or line["quoted"].replace("\0", " "))
            found.append(Command(page, number, words, False, _errors(block[line.end() :])))
    prose = without_fences(text)
    for match in INLINE.finditer(prose):
        if line := re.fullmatch(r"(?:\.venv/bin/)?metarun\s+(.+)", match[1], re.DOTALL):
            number = prose.count("\n", 0, match.start()) + 1
            found.append(Command(page, number, _words(line[1].replace("\\|", "|")), True))
    return sorted(found, key=lambda command: command.line)


def _words(line: str) -> tuple[str, ...]:
    words = shlex.split(line.replace("\0", " "), comments=True)
    return tuple(takewhile(lambda word: word not in END_OF_COMMAND, words))


def _errors(rest: str) -> tuple[str, ...]:
    """The error lines at the beginning of what follows a command."""
    lines = rest.lstrip("\n").split("\n")
    return tuple(takewhile(lambda line: line.startswith("metarun: "), lines))


COMMANDS = {page: commands_in(page.read_text("utf-8"), page.name) for page in PAGES}
ALL = [command for found in COMMANDS.values() for command in found]
# Those of figures.md are records of runs, with the version of each in its file.
ALL = [command for command in ALL if command.page != "figures.md"]
DISTINCT = list({(command.words, command.inline): command for command in ALL}.values())


class Checked(BaseException):
    """Raised in place of the work, once a command is known to be valid."""


class Unread:
    """A data set that knows its sizes, and whose files are not read."""

    def __init__(self, data: Any) -> None:
        self.facts = data.facts

    def load(self) -> None:
        raise Checked


def limited(words: Iterable[str]) -> list[str]:
    """The words with at most 3 trials; those that continue a search need more than it has."""
    more = any(word.startswith("resume=") for word in words)
    return [re.sub(r"(?<=\.trials=)\d+", "3" if more else "2", word) for word in words]


def check_only(patch: pytest.MonkeyPatch) -> None:
    """Commands compose and check their configuration, but do not read data, train or test."""
    load_splits, train = parts.load_splits, training.train

    def checked_splits(config: Any, make: Any, *args: Any) -> None:
        load_splits(config, make and (lambda: Unread(make())), *args)

    def checked_training(*args: Any, **kwargs: Any) -> dict[str, Any]:
        with contextlib.suppress(Checked):
            train(*args, **kwargs)
        return {"status": "completed", "val": {"accuracy": {"mean": 0.5, "ci95": 0.1}}}

    def stop(*args: Any, **kwargs: Any) -> None:
        raise Checked

    def in_this_process(jobs: Sequence[Job], *_: Any) -> bool:
        return any([job() for job in jobs])

    for module in (parts, splits):
        patch.setattr(module, "load_splits", checked_splits)
    patch.setattr(training, "train", checked_training)
    patch.setattr(display, "conclude", lambda *_: None)
    works = (
        "train.resume",
        "evaluate.retest",
        "evaluate.run_challenge",
        "training.restored.restored",
    )
    works += ("predict.trained.Trained", "predict.untrained.Untrained", "predict.exported.export")
    for work in (*works, "report.verdict.judge"):
        patch.setattr(f"metarun.{work}", stop)
    for launch in ("run_in_parallel", "run_submitted"):
        patch.setattr(launchers, launch, in_this_process)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A folder with everything that the pages name: runs, a sweep, a search, `mine`, `DIR`."""
    home = tmp_path_factory.mktemp("folders")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        blank(patch)
        check_only(patch)
        assert cli.main(["-m", "seed=0,1", f"hydra.sweep.dir={SWEEP}"]) == 0
        search = ["hydra/sweeper=optuna", "hydra.sweeper.trials=1", "optimizer.lr=1e-3,1e-2"]
        assert cli.main(["-m", *search, f"hydra.sweep.dir={SEARCH}"]) == 0
    for name in RUNS:
        shutil.copytree(finished, home / name)
    shutil.copytree(EXAMPLE, home / "mine")
    shutil.copytree(OWN, home / "tests" / "own", ignore=shutil.ignore_patterns("__pycache__"))
    for picture in (home / f"DIR/class{i}/{k}.png" for i in range(6) for k in range(16)):
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * int(picture.stem)).save(picture)
        picture.with_suffix(".wav").write_text("its name is enough here")
    rows = [f"sentence {k},{k % 6}" for k in range(120)]
    (home / "FILE.csv").write_text("\n".join(["question,intent", *rows]))
    np.savez(home / "FILE.npz", x=np.zeros((120, 4)), y=np.arange(120) % 6)
    sbatch = home / "bin" / "sbatch"  # the Slurm launcher looks for it
    sbatch.parent.mkdir()
    sbatch.touch(0o755)
    return home


@pytest.fixture
def check(
    folders: Path, tmp_path: Path, metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Command], list[str]]:
    """Checks a command in a copy of `folders`; returns the lines that report its mistakes.

    A search is limited to a few trials.
    """
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    check_only(monkeypatch)

    def mistakes(command: Command) -> list[str]:
        if command.is_name:
            known = command.words[0] in commands.names()
            return [] if known else [f"{command.words[0]}: no such command"]
        for word in command.words:  # the command makes this folder itself
            key, _, value = word.partition("=")
            if key in ("out", "hydra.sweep.dir"):
                shutil.rmtree(tmp_path / value, ignore_errors=True)
        try:
            code, _, err = metarun(*limited(command.words))
        except Checked:
            return []
        return err if code else []

    return mistakes


@pytest.mark.parametrize("command", DISTINCT, ids=str)
def test_a_command_is_valid(command: Command, check: Callable[[Command], list[str]]) -> None:
    """Or it is wrong on purpose, and the page shows its error messages."""
    assert check(command) == list(command.errors)


@pytest.mark.parametrize(
    "line",
    [
        "metarun algo=maml algo.iner_lr=0.1",
        "metarun algo=mamml",
        "metarun algo=maml shots=5 train_way=20",
        "metarun algo=maml train_ways=20 ways=5",
        "metarun data=omniglot shots=30",
        "metarun algo=maml algo.inner_lr=-1",
        "metarun -m algo=protonet,maml algo.inner_lr=0.1,0.2",
        "metarun -m algo=protonet,mamml",
        "metarun -m hydra/sweeper=optuna hydra.sweeper.trial=3 seed=0",
        "metarun -m hydra/sweeper=optuna algo=maml 'algo.iner_lr=interval(0.1,1)'",
        "metarun -m hydra/launcher=joblib hydra.launcher.jobs=2 seed=0,1",
        "metarun resume=RUN_DIR stepps=6",
        "metarun resume=SWEEP_DIR hydra/launchr=joblib",
        "metarun evaluate run=RUN_DIR shot=5",
        "metarun evaluate run=RUN_DIR algo=maml",
        "metarun verify experiment=maml/omniglot steps=5",
        "metarun compare RUN_A RUN_C",
        "metarun report runs ouut=x.html",
        "metarun audit run=RUN_DIR episode=3",
        "metarun show data=omniglott",
        "metarun list algos",
        "metarun experiment=maml/omniglot quik=true",
        "metarun evalute",
    ],
)
def test_a_mistake_in_a_page_is_found(
    line: str, check: Callable[[Command], list[str]], tmp_path: Path
) -> None:
    (in_text,) = commands_in(f"One writes `{line}` for this.")
    (in_block,) = commands_in(f"```\n{line}\n```\n")
    assert in_text.words == in_block.words
    assert check(in_text) != []


def test_commands_are_found_wherever_they_stand() -> None:
    text = (
        "Text, `metarun algo=maml\nshots=5`, and `metarun list`; `metarunner` is none.\n"
        "```\n$ metarun -m algo=maml \\\n  shots=1,5   # a comment\nmetarun: an error\n"
        'metarun list | head -1\neval "$(metarun -sc install=bash)"\n```\n'
        "| `metarun show \\| less` |\n"
    )
    assert [(c.line, " ".join(c.words)) for c in commands_in(text)] == [
        (1, "algo=maml shots=5"),
        (2, "list"),
        (4, "-m algo=maml shots=1,5"),
        (7, "list"),
        (8, "-sc install=bash"),
        (10, "show"),
    ]


def test_commands_are_complete() -> None:
    """A page names folders by words in capitals, and leaves nothing out."""
    assert len(ALL) > 60
    assert [str(c) for c in ALL for word in c.words if "…" in word or "..." in word] == []


@cache
def known_keys() -> set[str]:
    """The keys of all choices, of all launchers and searches, and of all commands."""
    known = {"resume", "run", "split", "name", "episodes", "protocol", "hydra.sweep.dir"}
    known |= {*KEYS["predict"], *KEYS["export"]}
    known |= {*GROUPS, "hydra/launcher", "hydra/sweeper"}
    known |= set(keys(OmegaConf.load(conf_dir() / "config.yaml")))
    for file in conf_dir().glob("*/**/*.yaml"):
        package = file.parent.relative_to(conf_dir()).as_posix().replace("/", ".")
        whole = "# @package _global_" in file.read_text("utf-8").splitlines()
        node = OmegaConf.load(file)
        known |= {key if whole else f"{package}.{key}" for key in keys(node)}
    return known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_in_running_text_exist(page: Path) -> None:
    known = known_keys()
    for code in INLINE.findall(without_fences(page.read_text("utf-8"))):
        for word in code.split() if not code.startswith(("metarun ", "torch.")) else ():
            key, equals, _ = word.strip("'").partition("=")
            if equals and key != "key" and re.fullmatch(r"[a-z_]+([./][a-z_]+)*", key):
                assert key in known, f"{page.name}: `{code}`: no such key"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def links(text: str) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", INLINE.sub("", without_fences(text)))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in links(page.read_text("utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(file.read_text("utf-8")), f"{page.name}: {link}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in links(README.read_text("utf-8"))}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


def listings(page: Path, language: str) -> list[str]:
    return [m[2] for m in FENCE.finditer(page.read_text("utf-8")) if m[1] == language]


def test_the_learner_in_the_readme_is_the_one_in_the_repository() -> None:
    assert listings(README, "python") == [(EXAMPLE / "ridge.py").read_text("utf-8")]
    assert listings(README, "yaml") == [(EXAMPLE / "algo" / "ridge.yaml").read_text("utf-8")]
    assert len(listings(README, "python")[0].splitlines()) <= 30


def test_other_listings_are_parts_of_files() -> None:
    sources = [file.read_text("utf-8") for file in [*OWN.rglob("*.py"), *OWN.rglob("*.yaml")]]
    for page in PAGES[1:]:
        for listing in (*listings(page, "python"), *listings(page, "yaml")):
            if "testing.of" not in listing:  # see the test below
                assert any(listing in source for source in sources), f"{page.name}:\n{listing}"


@pytest.mark.slow
def test_the_tests_for_a_learner_run(tmp_path: Path) -> None:
    (listing,) = (x for x in listings(ROOT / "docs/extending.md", "python") if "testing.of" in x)
    (tmp_path / "test_mine.py").write_text(listing)
    shutil.copytree(EXAMPLE, tmp_path / "mine")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_the_learner_in_the_readme_learns(metarun: Metarun) -> None:
    """As `metarun --config-dir mine algo=ridge`, on data that is made in milliseconds."""
    shutil.copytree(EXAMPLE, "mine")
    shutil.copytree(OWN / "data", "mine/data")
    shutil.copy(OWN / "blobs.py", "mine")
    code, _, err = metarun(
        *("--config-dir", "mine", "algo=ridge", "data=blobs", "debug=tiny", "threads=1", "out=run"),
        *("steps=20", "eval_every=10", "test_episodes=40", "backbone.filters=8", "queries=5"),
    )
    assert (code, err) == (0, [])
    result = OmegaConf.load("run/result.json")
    assert result.run.algo == "ridge"
    assert result.test.accuracy.mean - result.test.accuracy.ci95 > 0.5  # chance is 0.2


# What `debug=tiny` sets, so that the numbers of the page do not apply.
TINY_KEYS = (
    *("steps", "meta_batch", "queries", "eval_every", "log_every", "val_episodes"),
    *("test_episodes", "threads"),
)
SIZES_OF_THEIR_OWN = (  # refuse the `queries` of `debug=tiny`
    *("bandits", "cheetah_direction", "cheetah_velocity", "movielens", "navigation2d"),
    *("navigation2d_imitation", "objectives", "ratings_world"),
)
MADE_ON_THE_SPOT = ("glyphs", "sinusoid", "blobs")  # other data sets need files


def tiny(words: tuple[str, ...]) -> list[str] | None:
    """The command with a few steps, on data that needs no file; `None` where it is not run.

    - Other data sets are replaced by `glyphs`, and their keys are left out.
    - `debug=tiny` replaces what the page says of steps and episodes.
    - Not run: presets, whose settings are for Omniglot or miniImageNet, except `demo` and `best`;
      Slurm, which needs a cluster; Omniglot's challenge; the help on all flags.
    """
    name = words[0] if words[0].isidentifier() else "train"
    replaced = {w.partition("=")[0]: w.partition("=")[2] for w in words if "=" in w}
    if replaced.get("experiment", "demo") not in ("demo", "best"):
        return None
    if replaced.get("hydra/launcher") == "slurm" or "protocol" in replaced:
        return None
    if name in ("list", "compare", "report") or {"--cfg", "-sc", "--info"} & set(words):
        return list(words)
    if name in ("predict", "export"):  # needs pictures; has tests of its own
        return None
    if name == "evaluate":
        return [*(w for w in words if not w.startswith("episodes=")), "episodes=4"]
    if "resume" in replaced:
        folder = Path(replaced["resume"])
        if not (folder / "multirun.yaml").exists():  # a finished run continues with more steps
            steps = OmegaConf.load(folder / "config.yaml").steps
            return [f"resume={folder}", f"steps={steps + 2}"]
        return limited(words)
    if name == "audit" and "run" in replaced:
        return [*words, "episodes=4"]
    if replaced.get("data") in SIZES_OF_THEIR_OWN:  # tests of their domains run them
        return None
    known = replaced.get("data", "glyphs") in MADE_ON_THE_SPOT
    shorter = [w for w in words if w.partition("=")[0] not in TINY_KEYS]
    if not known:
        shorter = [w for w in shorter if not w.startswith(("data=", "data."))]
    few = ["episodes=4"] if name == "audit" else []
    return [*limited(shorter), *([] if known else ["data=glyphs"]), "debug=tiny", "threads=1", *few]


def run_all(found: list[Command], metarun: Metarun) -> int:
    """Run the commands in their order; returns how many were run."""
    ran = 0
    for command in found:
        words = None if command.is_name or command.errors else tiny(command.words)
        if words is not None:
            code, _, err = metarun(*words)
            assert code == 0, f"{command}: {err}"
            ran += 1
    return ran


def test_the_commands_of_the_readme_run(metarun: Metarun) -> None:
    """In their order, in a tiny form, with `glyphs` in place of Omniglot; see `tiny`."""
    shutil.copytree(EXAMPLE, "mine")
    assert run_all(COMMANDS[README], metarun) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, metarun: Metarun) -> None:
    """In their order, in a tiny form, with `glyphs` in place of other data; see `tiny`."""
    short = ["debug=tiny", "threads=1"]
    for name in ("RUN_DIR", "RUN_A", "RUN_B"):
        assert metarun(*short, f"out={name}")[0] == 0
    assert metarun("-m", *short, "seed=0,1", f"hydra.sweep.dir={SWEEP}")[0] == 0
    shutil.copytree("RUN_A", "runs/one")
    shutil.copytree(OWN, "tests/own")
    Path("DIR").mkdir()
    run_all(COMMANDS[page], metarun)
