"""A private JupyterLab in a headless Chromium, for tests that do what a learner does."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, JSHandle, Locator, Page, sync_playwright

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts"  # screenshots, not committed
NO_CHROMIUM = "no Chromium or Chrome was found"
HOW_TO_GET_CHROMIUM = (
    "No Chromium or Chrome was found, so these were not tried in a real JupyterLab. Install one (on Debian "
    "or Ubuntu `sudo apt install chromium`; elsewhere Google Chrome, from its website; or, in the "
    "environment, `playwright install chromium`), or set CHROMIUM to the path of one."
)
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LAB_SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "docmanager-extension/plugin": {"autosave": False},
}

EMPTY_THE_KERNEL = "from ipywidgets import Widget\nWidget.close_all()\n%reset -f"


# ---------------------------------------------------------------------------------------------- Chromium
def find_chromium() -> str | None:
    """The browser to use: $CHROMIUM, then what is on PATH, then where installers put it."""
    if named := os.environ.get("CHROMIUM"):
        return named
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"):
        if found := shutil.which(name):
            return found
    places = [
        Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
        Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    ]
    for variable in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"):
        if base := os.environ.get(variable):
            places.append(Path(base) / "Google/Chrome/Application/chrome.exe")
    with sync_playwright() as playwright:
        places.append(Path(playwright.chromium.executable_path))  # of `playwright install chromium`
    return next((str(place) for place in places if place.is_file()), None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = [r for r in terminalreporter.stats.get("skipped", []) if NO_CHROMIUM in str(r.longrepr)]
    if left_out:
        terminalreporter.section(f"{len(left_out)} browser tests were left out")
        terminalreporter.line(HOW_TO_GET_CHROMIUM)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None and os.environ.get("CI"):
        pytest.fail(HOW_TO_GET_CHROMIUM)
    if executable is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


# -------------------------------------------------------------------------------------------- JupyterLab
@dataclass
class Lab:
    browser: Browser
    url: str
    root: Path  # what it shows: a copy of notebooks/
    share_kernel: bool = False
    page: Page | None = None  # one for all notebooks, one after the other: loading JupyterLab takes long
    kernel: dict[str, str] | None = None  # the last notebook's, where it is shared

    @contextmanager
    def open(self, name: str, *, theme: str = "light", width: int = 1300, height: int = 1000):
        """Open a notebook as a learner would; at the end it is closed, and its kernel shut down.

        With `share_kernel` the kernel is emptied instead, and goes on to the next notebook with what it has
        imported. After a test that failed the next one gets a page and a kernel of its own.
        """
        page, self.page = self.page, None
        kernel, self.kernel = self.kernel, None
        first = page is None
        if page is None:
            page = self.browser.new_page(viewport={"width": width, "height": height})
        notebook = Notebook(page)
        listeners = {
            "pageerror": lambda error: notebook.console_errors.append(str(error)),
            "console": lambda m: notebook.console_errors.append(m.text) if m.type == "error" else None,
        }
        for event, listener in listeners.items():
            page.on(event, listener)
        page.set_default_timeout(60_000)
        page.set_viewport_size({"width": width, "height": height})
        try:
            if first:
                page.goto(f"{self.url}/lab/tree/{quote(name)}?reset")
            else:
                notebook.change_theme(theme)  # before there is much that has to look different
                page.evaluate(
                    "async given => { await jupyterapp.commands.execute('docmanager:open', given); }",
                    {"path": name, "kernel": kernel},
                )
            page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
            notebook.change_theme(theme)
            notebook.wait_for_idle()
            yield notebook
            self.kernel = page.evaluate(
                """async code => {
                    const panel = jupyterapp.shell.currentWidget;
                    const { kernel } = panel.sessionContext.session;
                    if (code) await kernel.requestExecute({ code }).done;
                    else await panel.sessionContext.shutdown();
                    panel.dispose();
                    return code ? { id: kernel.id } : null;
                }""",
                EMPTY_THE_KERNEL if self.share_kernel else None,
            )
            for event, listener in listeners.items():
                page.remove_listener(event, listener)
            self.page = page
        finally:
            if self.page is None:
                page.close()


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as the environment sets it up, but with nobody's own settings.

    Its token is off: it listens on this machine only, and lives as long as the tests. With BRIEF_TRAINING in
    the environment, models are trained briefly, claims are not asserted (brief_training.py), and one kernel
    runs all notebooks.
    """
    home = tmp_path_factory.mktemp("lab")
    root = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", root, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for plugin, values in LAB_SETTINGS.items():
        path = home / "settings/@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("MPLBACKEND", None)  # it would keep figures out of the notebooks
    if os.environ.get("BRIEF_TRAINING"):
        startup = home / "ipython/profile_default/startup"
        startup.mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "brief_training.py", startup)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"]
    command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/status", timeout=2).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
        yield Lab(browser, url, root, share_kernel=bool(os.environ.get("BRIEF_TRAINING")))
    finally:
        server.terminate()  # ends its kernels too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


# ------------------------------------------------------------------------------------- an open notebook
@dataclass
class Notebook:
    """A notebook in JupyterLab, and what a learner does there."""

    page: Page
    console_errors: list[str] = field(default_factory=list)

    def run_all(self, timeout: float = 120, *, only: list[int] | None = None) -> list[str]:
        """Run all code cells, or only those with these numbers; the errors of those that failed."""
        self.page.set_default_timeout(timeout * 1000)
        self.page.evaluate(
            """async only => {
                const notebook = jupyterapp.shell.currentWidget.content;
                if (!only) return jupyterapp.commands.execute('notebook:run-all-cells');
                const code = notebook.widgets.filter(cell => cell.model.type === 'code');
                notebook.activeCellIndex = notebook.widgets.indexOf(code[only.at(-1)]);
                notebook.deselectAll();
                only.forEach(number => notebook.select(code[number]));
                await jupyterapp.commands.execute('notebook:run-cell');
            }""",
            only,
        )
        self.wait_for_idle(timeout)
        self.page.set_default_timeout(20_000)
        return self.page.evaluate(
            """() => jupyterapp.shell.currentWidget.content.widgets.flatMap((cell, i) =>
                cell.model.type !== 'code' ? [] : cell.model.outputs.toJSON()
                    .filter(output => output.output_type === 'error')
                    .map(output => `cell ${i}: ${output.ename}: ${output.evalue}`))"""
        )

    def wait_for_idle(self, timeout: float = 60) -> None:
        status = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        # By the clock, and not as by default with each frame: frames that nobody sees take time too.
        self.page.wait_for_function(status, timeout=timeout * 1000, polling=200)

    def change_theme(self, theme: str) -> None:
        name = f"JupyterLab {theme.capitalize()}"
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")

    def explorer(self, source: str) -> "Shown":
        """The explorer below the first code cell that contains `source`."""
        index = self.page.evaluate(
            """source => jupyterapp.shell.currentWidget.content.widgets.findIndex(cell =>
                cell.model.type === 'code' && cell.model.sharedModel.getSource().includes(source))""",
            source,
        )
        assert index >= 0, f"no code cell contains {source!r}"
        self.page.evaluate("i => jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')", index)
        cell = self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")
        root = cell.locator(".seqlib-explorer")
        root.locator("[role=img]").wait_for()
        root.scroll_into_view_if_needed()
        return Shown(self.page, root)

    def screenshot(self, name: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")


@dataclass
class Shown:
    """An Explorer on the screen."""

    page: Page
    root: Locator

    @property
    def picture(self) -> Locator:
        """What moves, with the picture's description as its label."""
        return self.root.locator("[role=img]").first

    @property
    def description(self) -> str:
        return self.picture.get_attribute("aria-label") or ""

    @property
    def message(self) -> str:
        alert = self.root.locator("[role=alert]")
        return alert.inner_text() if alert.count() else ""

    def slider(self, label: str) -> Locator:
        """The handle of the slider with this label."""
        named = self.page.locator(".widget-label", has_text=re.compile(f"^{re.escape(label)}$"))
        return self.root.locator(".widget-slider", has=named).locator(".noUi-handle")

    @property
    def sliders(self) -> list[str]:
        """The labels of those that can be moved."""
        enabled = self.root.locator(".widget-slider:not(:has([disabled])):visible")
        return enabled.locator(".widget-label").all_inner_texts()

    def move(self, label: str) -> None:
        """Move a slider a step, to the left where it is at its end, and wait for the next picture."""
        before = self._at(label)
        self._press(before, "ArrowRight")
        if before.evaluate(_STAYS):
            self._press(before, "ArrowLeft")
            assert not before.evaluate(_STAYS), f"the slider {label!r} does not move"
        self._wait_for_another(before)

    def press(self, label: str, key: str = "ArrowRight") -> None:
        """Press a key on a slider and wait for the next picture."""
        before = self._at(label)
        self._press(before, key)
        self._wait_for_another(before)

    def _at(self, label: str) -> JSHandle:
        """A slider and its value, and the element with the picture as it is now."""
        return self.slider(label).evaluate_handle(
            """handle => {
                const root = handle.closest('.seqlib-explorer');
                const picture = root.querySelector('[role=img]');
                return { handle, value: handle.getAttribute('aria-valuetext'), root, picture };
            }"""
        )

    def _press(self, before: JSHandle, key: str) -> None:
        before.evaluate("before => before.handle.focus()")
        self.page.keyboard.press(key)

    def _wait_for_another(self, before: JSHandle) -> None:
        # Another picture is another element: a layer's HTML is only sent where it has changed.
        self.page.wait_for_function(
            "before => before.root.querySelector('[role=img]') !== before.picture",
            arg=before,
            polling=100,  # and not with each frame, which would take longer than drawing it
        )

    def screenshot(self, name: str) -> None:
        """What is to be seen of it. (Playwright's screenshot of an element takes three times as long.)"""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(
            path=ARTIFACTS / f"{name}.png",
            clip=self.root.bounding_box(),
            caret="initial",  # hiding it would have all styles computed anew, twice
        )


_STAYS = "before => before.handle.getAttribute('aria-valuetext') === before.value"
