"""`metarun export run=RUN_DIR out=FILE`."""

from __future__ import annotations

from pathlib import Path

from metarun.config.command_line import Request, new_file_mistakes
from metarun.errors import Refused, say

FORMATS = {"onnx": ".onnx", "torch_export": ".pt2"}  # format → suffix of its files


def run(request: Request) -> int:
    """Write a trained metric learner to a file that other programs can load."""
    request.accept("--config-dir")
    config_dir = request.flags.config_dir
    run, out = map(request.folder, ("run", "out"))
    kind = request.take("format") or "onnx"
    if missing := [key for key, place in {"run=": run, "out=": out}.items() if place is None]:
        form = "metarun export run=RUN_DIR out=FILE.onnx [format=torch_export]"
        raise Refused(f"export: {', '.join(missing)} missing: {form}")
    if kind not in FORMATS:
        raise Refused(f"format={kind}: should be {' or '.join(FORMATS)}")
    beside = out.with_suffix(".json")
    mistakes = new_file_mistakes(out, FORMATS[kind]) or new_file_mistakes(beside, ".json")
    if mistakes:
        raise Refused(*mistakes)

    from metarun.runs.config_file import load_without_data

    config = load_without_data(run, "run", request.words, ("threads",), "export", config_dir)

    from metarun.predict.exported import export

    record = export(config, run, out, kind, [Path(config_dir)] if config_dir else [])
    difference = record["difference"]
    checked = "not checked: needs pip install 'metarun[export]'"
    if difference is not None:
        checked = f"its scores differ from those of metarun by {difference:.1g}"
    say(f"{out}: {checked}")
    say(str(beside))
    return 0
