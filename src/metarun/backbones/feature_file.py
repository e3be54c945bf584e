"""Features of a frozen network on disk, for later runs with the same network."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from metarun import __version__
from metarun.data.preparation.cached_files import FEATURES

WAIT = 60.0  # seconds for another process that writes
PLAIN = (bool, int, float, str, tuple)
TABLE = "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB)"

T = TypeVar("T")

log = logging.getLogger(__name__)


class FeatureFile:
    """Features by the hash of an item, in an SQLite database.

    Several processes may read and write it at once, and any of them may be killed: SQLite undoes
    what was not finished. A file that cannot be used is named once and then left alone.

    Args:
        folder: the folder of the file; created if it is missing.
        net: the network; `identity` of it is in the name of the file.
    """

    def __init__(self, folder: Path, net: nn.Module) -> None:
        self.path, self._usable = folder / FEATURES.format(identity(net)), True
        self._layout = np.dtype(str(next(net.parameters()).dtype).removeprefix("torch."))
        self._bytes = net.features * self._layout.itemsize

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Tensor]:
        """The features (features) that are stored under these keys."""

        def read(database: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            query = "SELECT key, value FROM features WHERE key = ?"
            return [row for key in keys for row in database.execute(query, (key,))]

        return {
            key: torch.from_numpy(np.frombuffer(value, self._layout).copy())
            for key, value in self._try(read, [])
            if len(value) == self._bytes
        }

    def add(self, features: Mapping[bytes, Tensor]) -> None:
        """Store features (features) under their keys."""
        rows = [(key, value.numpy().tobytes()) for key, value in features.items()]
        insert = "INSERT OR REPLACE INTO features VALUES (?, ?)"
        self._try(lambda database: database.executemany(insert, rows) and None, None)

    def _try(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do work in one transaction. Connections are not kept, so processes may be forked."""
        if not self._usable:
            return otherwise
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=WAIT)
            with contextlib.closing(connection) as database, database:
                database.execute(TABLE)
                return work(database)
        except (sqlite3.Error, OSError) as error:
            self._usable = False
            log.warning("%s: cannot be used (%s); features are computed", self.path, error)
            return otherwise


def identity(net: nn.Module) -> str:
    """Hash of all that the features of an item depend on, to the last bit, apart from the item.

    These are weights, settings and code of the network, and the processor, the number of threads
    and the version of torch.
    """
    machine = (torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    digest = hashlib.blake2b(f"{__version__} {torch.__version__} {machine}".encode(), digest_size=8)
    code = set()
    for name, module in net.named_modules():
        kinds = [kind.__qualname__ for kind in type(module).__mro__]
        settings = {k: v for k, v in sorted(vars(module).items()) if isinstance(v, PLAIN)}
        digest.update(f"{name} {kinds} {settings}\n".encode())
        code.add(inspect.getfile(type(module)))
    for file in sorted(code):
        digest.update(Path(file).read_bytes())
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
