"""The commands as Python functions: `metarun.fit` and `metarun.load`.

They take the words of the command line, check and print what it does, and raise its messages as
exceptions. The process stays as it was: see `set_up` and `default_torch_state`.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.commands import evaluate, predict, train
from metarun.config.command_line import Request
from metarun.errors import Refused, say
from metarun.process import replacing_characters, set_up

if TYPE_CHECKING:
    from metarun.predict.prediction import Prediction

Words = str | Mapping[str, Any]
Place = str | os.PathLike[str]

_ALONE = threading.RLock()  # Hydra, signals and torch's random numbers belong to the whole process


class Run:
    """A run in its folder.

    Attributes:
        folder: its absolute path.
    """

    def __init__(self, folder: Path, config_dir: Place | None = None) -> None:
        self.folder = folder.absolute()
        self._config_dir = config_dir

    def __repr__(self) -> str:
        return f"Run({str(self._shown)!r})"

    @property
    def _shown(self) -> Path:
        """The folder as it is printed: relative, if it is below the working directory."""
        here = Path.cwd()
        return self.folder.relative_to(here) if self.folder.is_relative_to(here) else self.folder

    @property
    def result(self) -> dict[str, Any]:
        """The content of `result.json`, which is read each time.

        Raises:
            Refused: the file is missing or damaged.
        """
        from metarun.runs.results import read_result

        result = read_result(self.folder)
        if result is None:
            raise Refused(f"{self.folder / 'result.json'}: missing or damaged")
        return result

    @property
    def curves(self) -> Any:
        """The lines of `metrics.jsonl`: a `pandas.DataFrame`, or without pandas a list of dicts.

        The columns are `step`, `split` (`train` or `val`), `loss` and the scores of the data.
        """
        from metarun.runs.metrics import read_metrics

        lines = read_metrics(self.folder)
        try:
            from pandas import DataFrame
        except ImportError:
            return lines
        return DataFrame(lines)

    def evaluate(self, *words: Words, **keys: Any) -> dict[str, Any]:
        """Test the run under another protocol, as `metarun evaluate` does.

        Args:
            words, keys: see `fit`; for example `shots=5`, `episodes=2000`, `split="val"`.

        Returns:
            The content of the new `result.json`, which is below `evaluations` in the run's folder.

        Raises:
            Refused, RunFailed: see `fit`.
        """
        given = [f"run={self._shown}", *_overrides(words, keys)]
        with _command("evaluate", given, self._config_dir) as request:
            return evaluate.evaluate(request)

    def predict(
        self,
        support: Any,
        query: Any,
        *,
        unknown_below: float | None = None,
        truth: Place | None = None,
        out: Place | None = None,
        **keys: Any,
    ) -> Prediction:
        """Label items by a few labelled items of each class, as `metarun predict` does.

        Args:
            support: the labelled items: a path, as on the command line; a mapping from labels to
                sequences of items; or a pair (items, labels). Items are paths of pictures,
                pictures in memory (see `metarun.predict.given.as_picture`), or sentences.
            query: the items to label: a path, or a sequence of items.
            unknown_below: items with a smaller probability are labelled `unknown`.
            truth: the same items by class, as on the command line.
            out: a new folder for the table, the page and the record; by default nothing is written.
            keys: `device` or `threads`.

        Raises:
            Refused, RunFailed: see `fit`.
        """
        items = {"support": support, "query": query}
        places = {key: x for key, x in items.items() if isinstance(x, str | os.PathLike)}
        given = {key: x for key, x in items.items() if key not in places}
        if unknown_below is not None:
            keys["unknown_below"] = unknown_below
        options = {"run": self._shown, **places, "truth": truth, "out": out}
        words = [f"{key}={os.fspath(x)}" for key, x in options.items() if x is not None]
        with _command("predict", [*words, *_overrides((), keys)], self._config_dir) as request:
            result = predict.predict(request, given)

            from metarun.predict.written import lines

            for line in lines(result.labelled, result.record):
                say(line)
            return result


def fit(
    *words: Words,
    config_dir: Place | None = None,
    out: Place | None = None,
    resume: Place | None = None,
    **keys: Any,
) -> Run:
    """Train a run and test it, as `metarun WORDS` does.

    Args:
        words: what the command line takes, `"algo=maml"`, or mappings, `{"algo.inner_lr": 0.1}`.
        config_dir: a folder with choices of your own.
        out: the folder of the run, which must not hold one already; by default one in `runs`.
        resume: the folder of an earlier run, which is resumed; `words` and `keys` can change
            `steps`, for example.
        keys: the same as keywords, `shots=5`.

    Raises:
        Refused: the request is wrong, with a line for each mistake; nothing was written.
        RunFailed: the run failed.
        Interrupted: the run was interrupted and is saved; the message says how to resume it. This
            is a `KeyboardInterrupt`.
    """
    given = _overrides(words, {**keys, "out": out} if out is not None else keys)
    if resume is not None:
        given.append(f"resume={os.fspath(resume)}")
    with _command("", given, config_dir) as request:
        return Run(train.train(request, request.folder("resume")), config_dir)


def load(folder: Place, config_dir: Place | None = None) -> Run:
    """A run that was trained before.

    Args:
        folder: of the run.
        config_dir: the folder with choices of your own that the run was trained with.

    Raises:
        Refused: the folder holds no run, or its configuration is damaged.
    """
    from metarun.config.command_line import expand
    from metarun.runs.config_file import load_config

    path = expand(os.fspath(folder), f"folder={folder}")
    load_config(path, "folder")
    return Run(path, config_dir)


def _overrides(words: tuple[Words, ...], keys: dict[str, Any]) -> list[str]:
    from metarun.config.python_values import override

    found: list[str] = []
    for word in (*words, keys):
        if isinstance(word, str):
            found.append(word)
        else:
            found += [override(key, value) for key, value in word.items()]
    if flags := [word for word in found if word.startswith("-")]:
        raise Refused(*(f"{flag}: should be key=value; flags are for commands" for flag in flags))
    return found


@contextmanager
def _command(name: str, words: list[str], config_dir: Place | None) -> Iterator[Request]:
    """A context in which a command is executed, and its request. Threads enter it in turn."""
    from metarun.training.torch_state import default_torch_state

    flags = [] if config_dir is None else ["--config-dir", os.fspath(config_dir)]
    argv = [*flags, *words]
    with _ALONE, replacing_characters(), set_up(), default_torch_state():
        yield Request.of(argv, shlex.join(filter(None, ["metarun", name, *argv])))
