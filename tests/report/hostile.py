"""Creates run folders that try to inject HTML and scripts into the page."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.report.material import learned

# Each tries to set `window.injected`, to load something, or to close the enclosing element.
PAYLOADS = [
    "<script>window.injected=1</script>",
    "</script><script>window.injected=1</script>",
    "<img src=x onerror=window.injected=1>",
    '"><svg onload=window.injected=1>',
    "' onmouseover=window.injected=1 x='",
    "<a href='javascript:window.injected=1'>here</a>",
    "<b>bold</b><!--",
    "{{ 7 * 7 }}{% raw %}",
    "]]><style>*{display:none}</style>",
    "%{x}%{customdata}<extra>injected</extra>",
    "\u202egnp.exe\u2066\x00\x1b[31m\ufeff",
    "<iframe src=https://example.org/></iframe>",
    "<link rel=stylesheet href=//example.org/a.css>",
    "x" * 2000,
]


def hostile(parent: Path) -> None:
    """Create finished runs in which every text is one of `PAYLOADS`."""
    for i, payload in enumerate(PAYLOADS):
        name = payload.replace("/", "⁄").replace("\x00", "")[:200]
        folder = learned(parent / f"{i} {name}", i)
        result = json.loads((folder / "result.json").read_text())
        run = {**result["run"], "algo": payload, "device": payload, "versions": {payload: payload}}
        run["command"] = f"metarun 'algo={payload}' seed={i} 'tags=[{payload}]' '{payload}=1'"
        run["resumed_with"] = [payload]
        result["run"] = run
        result["protocol"] |= {payload: payload, "algo": {payload: payload}, "data": payload}
        score = ("accuracy", "constructor", "__proto__", payload)[i % 4]
        result["protocol"]["headline"] = {
            "score": score,
            "higher_is_better": True,
            "title": payload,
        }
        for part in ("test", "val"):
            result[part][score] = result[part]["accuracy"]
        (folder / "result.json").write_text(json.dumps(result))
        line = {"step": 10, "split": "val", "loss": 1.0, payload: payload, score: 0.5}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + f"\n{payload}\n")
        config = f"!!python/object/apply:os.system ['touch {folder}/ran']\n# {payload}\n"
        (folder / "config.yaml").write_text(config)
        (folder / "episodes.png").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{payload}")
    _huge(parent / "huge")
    first, second, third, fourth = sorted(parent.iterdir())[:4]
    outside = parent.parent / "outside"
    outside.write_text("root:x:0:0")
    for folder, name in (
        (first, "config.yaml"),
        (second, "episodes.png"),
        (third, "metrics.jsonl"),
    ):
        (folder / name).unlink()
        (folder / name).symlink_to(outside)
    (fourth / "metrics.jsonl").unlink()
    os.mkfifo(fourth / "metrics.jsonl")
    failed = json.loads((fourth / "result.json").read_text())
    failed |= {"status": "failed", "error": PAYLOADS * 3}
    (fourth / "result.json").write_text(json.dumps(failed))


def _huge(folder: Path) -> None:
    """Create a run with extremely small and large numbers."""
    learned(folder, 99, "maml", "mse")
    (folder / "episodes.png").unlink()
    values = [10.0**power for power in range(-14, 15, 4)]
    lines = [{"step": i, "split": "val", "mse": v, "ci95": v} for i, v in enumerate(values)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = json.loads((folder / "result.json").read_text())
    result["test"]["mse"] = result["val"]["mse"] = {"mean": 9e14, "ci95": 9e14}
    result["run"]["wall_seconds"] = 9e14
    (folder / "result.json").write_text(json.dumps(result))
