"""TensorBoard: figures and pictures in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metarun.errors import Refused
from metarun.loggers import Run


class TensorboardLogger:
    """Writes an event file into the folder `tensorboard` of the run.

    A resumed run adds a file; TensorBoard shows its steps in place of later ones of the files
    before it.
    """

    title = "TensorBoard"

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run.folder / "tensorboard"))
        self.step = 0

    @staticmethod
    def check(tags: list[str]) -> None:
        """Check that the package is installed.

        Args:
            tags: the tags of the run, which TensorBoard does not have.

        Raises:
            Refused: it is not.
        """
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise Refused(
                "logger=tensorboard: needs pip install 'metarun[tensorboard]'; or logger=none"
            ) from error

    def log(self, step: int, values: dict[str, float]) -> None:
        self.step = step
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        import numpy as np
        from PIL import Image

        for name, value in summary.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.writer.add_scalar(f"summary/{name}", value, self.step)
        for name, path in pictures.items():
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self.writer.add_image(name, pixels, self.step, dataformats="HWC")
        self.writer.close()
