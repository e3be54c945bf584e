"""The page in a real browser, opened from disk."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metarun import cli
from tests.report.hostile import hostile
from tests.report.material import learned, of_status

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver")
FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run")
FLAGS += (
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
)
HOVER = ".hoverlayer text"

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver on PATH"
)


class Reader:
    """A browser with one page open."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def opens(self, page: Path, width: int = 1400) -> None:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # Tests run in parallel, and only one browser on a screen has the focus.
        self.driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        self.driver.get("about:blank")
        self.driver.get_log("browser"), self.driver.get_log("performance")
        self.driver.get(page.resolve().as_uri())
        until = time.monotonic() + 60
        while not self.js("document.documentElement.classList.contains('ready')"):
            assert time.monotonic() < until, "the page's script did not finish"
            time.sleep(0.05)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def settled(self, script: str) -> Any:
        """The value of the script after pending plots are drawn."""
        wait = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        self.driver.execute_async_script(wait)
        return self.js(script)

    def click(self, selector: str) -> None:
        from selenium.webdriver.common.by import By

        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def column(self, title: str) -> list[str]:
        """The cells below a title, from top to bottom, of the rows that are shown."""
        return self.js(
            "(() => { const heads = [...document.querySelectorAll('#table thead th')];"
            "const c = heads.findIndex(h => h.textContent.trim() === arguments[0]);"
            "return [...document.querySelectorAll('#table tbody tr')].filter(r => !r.hidden)"
            ".map(r => r.cells[c].textContent.trim()); })()",
            title,
        )

    def sort(self, title: str) -> str:
        return self.js(
            "(() => { const head = [...document.querySelectorAll('#table thead th')]"
            ".find(h => h.textContent.trim() === arguments[0]);"
            "head.querySelector('button').click();"
            "return head.ariaSort; })()",
            title,
        )

    @property
    def console_errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> tuple[list[str], list[str]]:
        """URLs that the page requested since it was opened: sent ones, and blocked ones."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent, refused = {}, []
        for event in events:
            params = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                sent[params["requestId"]] = params["request"]["url"]
            elif event["method"] == "Network.loadingFailed" and params["blockedReason"] == "csp":
                refused.append(sent.pop(params["requestId"]))
        return [u for u in sent.values() if not u.startswith("data:image/webp;")], refused


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    from selenium.common.exceptions import SessionNotCreatedException
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    except SessionNotCreatedException as error:
        pytest.skip(f"chromium and chromedriver do not fit: {str(error).splitlines()[0]}")
    yield Reader(driver)
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine finished runs, one of them regression, and two that are not finished."""
    folder = tmp_path_factory.mktemp("sweep")
    for algo in ("protonet", "maml"):
        for seed in range(4):
            learned(folder / f"{algo}{seed}", seed + 10 * (algo == "maml"), algo)
    learned(folder / "wave", 3, "maml", "mse", data="sinusoid", ways=1, shots=10)
    of_status(folder / "broken", "failed", error="the loss is not finite")
    of_status(folder / "stopped", "interrupted")
    assert cli.main(["report", str(folder)]) == 0
    return folder / "report.html"


def test_opens_without_console_errors_and_requests(reader: Reader, page: Path) -> None:
    reader.opens(page)
    assert reader.js("document.querySelectorAll('#table tbody tr').length") == 11
    assert reader.js("document.querySelectorAll('.plot .main-svg').length") >= 4
    assert reader.console_errors == []
    assert reader.requests() == ([page.resolve().as_uri()], [])


def test_headers_sort_numerically_with_missing_values_last(reader: Reader, page: Path) -> None:
    reader.opens(page)
    for direction, reverse in (("descending", True), ("ascending", False)):
        assert reader.sort("test") == direction
        shown = reader.column("test")
        figures = [float(text.split()[0]) for text in shown[:8]]
        assert figures == sorted(figures, reverse=reverse)
        assert not shown[8].endswith("%")  # a squared error, sorted separately from accuracies
        assert shown[9:] == ["–", "–"]
    assert reader.js("document.querySelectorAll('[aria-sort]').length") == 1
    assert reader.sort("time") == "ascending"
    minutes = [text for text in reader.column("time") if text != "–"]
    assert minutes == sorted(minutes)
    assert reader.sort("algo") == "ascending"
    assert [t for t in reader.column("algo") if t == "maml"] == reader.column("algo")[:7]


def test_headers_work_with_the_keyboard(reader: Reader, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    reader.opens(page)
    before = reader.column("#")
    reader.js("document.querySelector('#table thead button').focus()")
    reader.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert reader.column("#") == before[::-1]


def test_filters_apply_to_the_table_and_the_plots(reader: Reader, page: Path) -> None:
    dots = "document.querySelector('[data-plot=dots][data-name=accuracy]').data"
    drawn = f"{dots}.reduce((n, trace) => n + trace.x.length, 0)"
    reader.opens(page)
    everything = reader.settled(drawn)
    reader.driver.find_element("id", "text").send_keys("PROTONET")
    assert set(reader.column("algo")) == {"protonet"}
    assert reader.js("document.getElementById('count').textContent") == "4 of 11 runs"
    assert 0 < reader.settled(drawn) < everything
    reader.click("#filters button")
    assert reader.settled("document.getElementById('count').textContent") == "11 of 11 runs"
    reader.driver.find_element("css selector", "[data-fact=status]").send_keys("failed")
    assert reader.column("status") == ["failed the loss is not finite"]
    assert "No test figure" in reader.settled("document.getElementById('results-note').textContent")
    assert reader.console_errors == []


@pytest.mark.parametrize(("score", "best"), [("return", max), ("mae", min)])
def test_a_custom_headline_is_plotted_with_the_best_run_on_top(
    reader: Reader, tmp_path: Path, score: str, best: Any
) -> None:
    for seed in range(3):
        learned(tmp_path / str(seed), seed, f"algo{seed}", score)
        learned(tmp_path / f"pictures {seed}", seed, f"algo{seed}")
    assert cli.main(["report", str(tmp_path)]) == 0
    reader.opens(tmp_path / "report.html")
    plot = f"document.querySelector('[data-plot=dots][data-name={score}]')"
    dots = f"{plot}.data.flatMap(t => t.x.map((x, i) => [t.y[i], x]))"
    drawn = dict(reader.settled(dots))
    assert len(drawn) == 3
    assert drawn[0] == best(drawn.values())
    title = "test return of an episode" if score == "return" else "test mae"
    assert reader.js(f"{plot}._fullLayout.xaxis.title.text") == title
    curves = f"document.querySelectorAll('[data-plot=curves][data-name={score}] .main-svg').length"
    assert reader.js(curves) > 0
    assert reader.sort("test") == "descending"
    shown = reader.column("test")
    order = [text.endswith("%") for text in shown]  # other scores are sorted separately
    assert order == sorted(order, reverse=True)
    assert reader.console_errors == []


def test_the_accuracy_axis_is_limited_to_0_to_100(reader: Reader, tmp_path: Path) -> None:
    for seed, mean in enumerate((0.2, 0.9)):
        file = learned(tmp_path / str(seed), seed) / "result.json"
        result = json.loads(file.read_text())
        result["test"]["accuracy"]["mean"] = mean
        file.write_text(json.dumps(result))
    assert cli.main(["report", str(tmp_path)]) == 0
    reader.opens(tmp_path / "report.html")
    place = "document.querySelector('[data-plot=dots]')"
    assert reader.js(f"{place}.data.some(t => t.error_x.array.some(half => half > 100))")
    low, high = reader.settled(f"{place}._fullLayout.xaxis.range")
    assert (low, high) == (-1, 101)


def test_a_ticked_run_is_highlighted(reader: Reader, page: Path) -> None:
    width = (
        "document.querySelector('[data-plot=curves][data-name=accuracy]').data"
        ".filter(t => t.mode === 'lines+markers').map(t => [t.line.width, t.opacity])"
    )
    reader.opens(page)
    reader.click("#table tbody tr input")
    drawn = reader.settled(width)
    assert len(drawn) == 8
    assert [style for style in drawn if style[1] == 1] == [[3.2, 1]]


def test_a_run_opens_from_its_row_and_its_command_can_be_copied(reader: Reader, page: Path) -> None:
    reader.opens(page)
    assert not reader.js("document.getElementById('run-2').open")
    reader.click("#table a[href='#run-2']")
    assert reader.settled("document.getElementById('run-2').open")
    reader.click("#run-2 [data-copy]")
    assert reader.settled("document.querySelector('#run-2 [data-copy]').textContent") in (
        "copied",
        "selected",
    )
    shown = reader.js("document.querySelector('#run-2 img').naturalWidth")
    assert shown == 60


def test_a_selected_matrix_cell_is_described_below_the_table(reader: Reader, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    reader.opens(page)
    description = "document.querySelector('.description').textContent"
    reader.js("document.querySelector('.matrix td[tabindex=\"0\"]').focus()")
    assert reader.js(description).startswith("#1 ")
    assert " − #2 " in reader.js(description)
    reader.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)  # skips the diagonal
    assert " − #2 " in reader.js(description)
    assert reader.js(description).startswith("#3 ")
    assert reader.js("document.querySelectorAll('.matrix td[tabindex=\"0\"]').length") == 1


@pytest.mark.parametrize("width", [390, 1600])
def test_the_page_does_not_scroll_horizontally(reader: Reader, page: Path, width: int) -> None:
    reader.opens(page, width)
    reader.js("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert reader.settled("document.documentElement.scrollWidth") <= width


def test_a_plot_can_be_exported_under_the_policy(reader: Reader, page: Path) -> None:
    reader.opens(page)
    export = (
        "const done = arguments[0]; Plotly.toImage(document.querySelector('.plot'), "
        "{format: 'svg', width: 600, height: 400}).then(done, e => done('' + e))"
    )
    assert reader.driver.execute_async_script(export).startswith("data:image/svg+xml,")
    assert reader.console_errors == []


def test_dark_mode_on_screen_and_light_colours_in_print(reader: Reader, page: Path) -> None:
    def media(kind: str) -> str:
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        settings = {"media": kind, "features": dark}
        reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", settings)
        return reader.settled("getComputedStyle(document.body).backgroundColor")

    reader.opens(page)
    try:
        assert media("screen") == "rgb(20, 23, 26)"
        assert media("print") == "rgb(255, 255, 255)"
    finally:
        reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_a_hostile_folder_cannot_inject_anything(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "<script>window.injected=1<⁄script>"
    folder.mkdir()
    hostile(folder)
    assert cli.main(["report", str(folder)]) == 0
    page = folder / "report.html"
    reader.opens(page, 390)
    reader.js("document.querySelectorAll('details').forEach(d => { d.open = true })")
    reader.click("#table a[href='#run-3']")
    point = "[{curveNumber: 0, pointNumber: 0}]"
    for plot in ("dots", "curves"):
        reader.js(f"Plotly.Fx.hover(document.querySelector('[data-plot={plot}]'), {point})")
        assert reader.settled(f"document.querySelectorAll('{HOVER}').length") > 0
    enter = "e => e.dispatchEvent(new Event('mouseover', {bubbles: true}))"
    reader.js(f"document.querySelectorAll('main *').forEach({enter})")
    assert reader.js("typeof window.injected") == "undefined"
    for planted in (
        *("main script", "iframe", "main style", "link", "main img", "svg a", "tspan[style*=bold]"),
        *("[onload]", "[onerror]", "[onmouseover]", "[href^=javascript]"),
    ):
        assert reader.js(f"document.querySelectorAll('{planted}').length") == 0, planted
    assert reader.js("document.documentElement.scrollWidth") <= 390
    assert reader.console_errors == []
    assert reader.requests() == ([page.resolve().as_uri()], [])


def test_the_policy_blocks_injected_elements(reader: Reader, page: Path) -> None:
    """The second line of defence, should escaping fail."""
    reader.opens(page)
    reader.js(
        "document.body.insertAdjacentHTML('beforeend', "
        "'<img src=x onerror=window.injected=1><img src=https://example.org/a.png>')"
    )
    script = "const s = document.createElement('script'); s.textContent = 'window.injected = 1'; "
    reader.driver.execute_script(f"{script} document.body.append(s)")
    assert reader.settled("typeof window.injected") == "undefined"
    assert len(reader.console_errors) >= 3
    sent, refused = reader.requests()
    assert sent == [page.resolve().as_uri()]
    assert "https://example.org/a.png" in refused


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of runs with long names that differ in the last of many keys."""
    folder = tmp_path_factory.mktemp("long") / "runs"
    for i in range(3):
        run = learned(folder / f"a_sweep_with_a_long_name/with_{'many_' * 8}settings_{i}", i)
        result = json.loads((run / "result.json").read_text())
        words = f"seed={i} algo.setting_with_a_long_name=0.001 algo.another_setting_{i}={i}"
        result["run"]["command"] = f"metarun algo=protonet {words} algo.last={i}"
        (run / "result.json").write_text(json.dumps(result))
    assert cli.main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.mark.parametrize("width", [360, 1400])
def test_a_phone_shows_names_and_figures(reader: Reader, long_names: Path, width: int) -> None:
    reader.opens(long_names, width)
    test = "document.querySelector('#table tbody tr').cells[2]"
    assert "%" in reader.js(f"{test}.textContent")
    assert reader.js(f"{test}.getBoundingClientRect().right") <= width
    assert reader.js("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1400])
def test_labels_are_whole(reader: Reader, long_names: Path, width: int) -> None:
    reader.opens(long_names, width)
    ticks = reader.settled(
        "[...document.querySelectorAll('[data-plot=dots] .ytick text')].map(t => t.textContent)"
    )
    labels = [run["label"] for run in reader.js("JSON.parse(data.textContent).runs")]
    assert [text.replace(" ", "") for text in ticks] == [
        f"#{i}{label}".replace(" ", "") for i, label in enumerate(labels, 1)
    ]
    heads = "[...document.querySelectorAll('.matrix tbody th')]"
    assert reader.js(f"{heads}.map(h => h.scrollWidth > h.clientWidth + 1)") == [False] * 3
