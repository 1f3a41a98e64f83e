"""A chapter in a browser, as a person sees and touches it."""

import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nbformat
import numpy as np
from nbformat import NotebookNode
from PIL import Image
from playwright.sync_api import BrowserContext, Error, Locator, Page, Route
from server import Lab

MINUTE = 60_000
"""Milliseconds: waits are generous, for a machine may have other work; none of them is a claim about speed."""

# What the figures below an element hold, in short: every number that plotly draws, and every picture's address.
# watch() then takes the time from the next touch to the first and to the last change of that, and to the picture: the
# second animation frame after the last change, when the page has drawn and the compositor has taken it over.
SCRIPT = """() => {
  const short = a => {
    if (a === undefined || a === null) return '';
    if (typeof a === 'string' || typeof a === 'number' || typeof a === 'boolean') return String(a);
    if (a.length === undefined) return JSON.stringify(a);
    const step = Math.max(1, Math.floor(a.length / 40)), some = [];
    for (let k = 0; k < a.length; k += step) some.push(a[k]);
    return a.length + ':' + some.join(',');
  };
  const KEYS = ['x', 'y', 'z', 'intensity', 'vertexcolor', 'visible', 'opacity', 'values', 'value', 'text', 'u', 'v'];
  const held = root => {
    const parts = [];
    for (const plot of root.querySelectorAll('.js-plotly-plot')) {
      for (const trace of plot._fullData || []) parts.push(trace.type + KEYS.map(k => short(trace[k])).join('|'));
      const layout = plot._fullLayout || {};
      parts.push(short(layout.shapes && layout.shapes.map(s => [s.x0, s.x1, s.y0, s.y1])));
    }
    for (const image of root.querySelectorAll('img')) parts.push(image.src);
    return parts.join('\\n');
  };
  const frame = () => new Promise(done => requestAnimationFrame(done));
  window.spinkitLab = {
    held: selector => held(document.querySelector(selector)),
    watch: (selector, quiet) => {
      const root = document.querySelector(selector), before = held(root);
      const said = window.spinkitLab.said = {};
      const touched = event => { if (said.touched === undefined) said.touched = event.timeStamp; };
      const kinds = ['keydown', 'mousedown', 'change', 'click'];
      for (const kind of kinds) document.addEventListener(kind, touched, {capture: true});
      (async () => {
        let seen = before;
        while (said.last === undefined || performance.now() - said.last < quiet) {
          await frame();
          const now = held(root);
          if (now === seen) continue;
          seen = now;
          said.last = performance.now();
          if (said.first === undefined) said.first = said.last;
          await frame(); await frame();
          said.drawn = performance.now();
        }
        for (const kind of kinds) document.removeEventListener(kind, touched, {capture: true});
        said.done = true;
      })();
    },
  };
}"""

READY = """async () => {
  const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  if (!panel || !panel.context || !panel.sessionContext) return false;
  await panel.context.ready; await panel.sessionContext.ready;
  const kernel = panel.sessionContext.session && panel.sessionContext.session.kernel;
  return Boolean(kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle');
}"""

RUN_ALL = """() => {
  window.spinkitRan = false;
  window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.spinkitRan = true; });
}"""


class Chapter:
    """A chapter that is open in JupyterLab."""

    def __init__(self, context: BrowserContext, lab: Lab, name: str, pictures: Path):
        self.lab, self.name, self.pictures = lab, name, pictures
        self.outside: list[str] = []
        """Requests that would have left the machine; none of them did."""
        self.complaints: list[str] = []
        """Errors that the page wrote to the browser's console."""
        self.page: Page = context.new_page()
        self.page.set_default_timeout(3 * MINUTE)
        self.page.route("**/*", self._gate)
        self.page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.goto(lab.address(name))
        self._wait_until_ready()
        self.page.evaluate(SCRIPT)

    def run_all(self) -> None:
        """Run every cell, and wait until the kernel has nothing left to do.

        Raises:
            AssertionError: names the error where a cell failed.
        """
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function("() => window.spinkitRan")
        self._wait_until_ready()
        failed = errors(self.save())
        assert not failed, failed

    def figures(self, root: str, drawn: str = ".js-plotly-plot canvas, .js-plotly-plot .main-svg, img") -> Locator:
        """A widget on the page, scrolled into sight, with its figures drawn."""
        widget = self.page.locator(root).first
        widget.locator(drawn).first.wait_for()
        widget.scroll_into_view_if_needed()
        self.page.wait_for_timeout(1000)
        return widget

    def held(self, root: str) -> str:
        """What the figures of a widget hold, in short."""
        return self.page.evaluate("root => window.spinkitLab.held(root)", root)

    def times(self, root: str, act: Callable[[], None], quiet: int = 500) -> dict[str, float]:
        """Seconds from a touch to the first change of what the figures hold, and to the last one drawn.

        Args:
            root: the widget.
            act: touches a handle.
            quiet: milliseconds without a change after which nothing more is expected.
        """
        self.page.evaluate("([root, quiet]) => window.spinkitLab.watch(root, quiet)", [root, quiet])
        act()
        self.page.wait_for_function("() => window.spinkitLab.said.done")
        said = self.page.evaluate("() => window.spinkitLab.said")
        return {kind: (said[at] - said["touched"]) / 1000 for kind, at in (("data", "first"), ("picture", "drawn"))}

    def press(self, handle: str, key: str = "ArrowRight", times: int = 1) -> None:
        """Move a slider by its arrow keys."""
        grip = self.page.locator(f"{handle} .noUi-handle").first
        grip.focus()
        for _ in range(times):
            self.page.keyboard.press(key)

    def drag(self, handle: str, pixels: int, steps: int = 5) -> None:
        """Move a slider by the mouse."""
        box = self.page.locator(f"{handle} .noUi-handle").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=steps)
        self.page.mouse.up()

    def choose(self, handle: str, option: str) -> None:
        """Take an option of a dropdown."""
        self.page.locator(f"{handle} select").select_option(option)

    def chosen(self, handle: str) -> str:
        """The option that a dropdown shows."""
        return self.page.locator(f"{handle} select option:checked").inner_text().replace("\xa0", " ")

    def push(self, button: str) -> None:
        """Press a button."""
        self.page.locator(button).first.click()

    def click(self, figure: str, across: float, down: float) -> None:
        """Click into a figure, at these parts of its width and height; plotly looks where the mouse rests."""
        box = self.page.locator(figure).first.bounding_box()
        x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
        self.page.mouse.move(x - 3, y)
        self.page.mouse.move(x, y)
        self.page.wait_for_timeout(800)
        self.page.mouse.down()
        self.page.wait_for_timeout(100)
        self.page.mouse.up()

    def pixels(self, widget: Locator) -> np.ndarray:
        """The widget as the screen shows it."""
        return np.asarray(Image.open(io.BytesIO(widget.screenshot())).convert("RGB")).astype(int)

    def picture(self, widget: Locator | None, what: str) -> None:
        """Keep a screenshot: of a widget, or of the whole page."""
        path = self.pictures / f"{self.name}_{what}.png"
        (widget or self.page).screenshot(path=str(path))

    def theme(self, name: str) -> None:
        """Change the colours of all of JupyterLab."""
        change = "async theme => { await window.jupyterapp.commands.execute('apputils:change-theme', {theme}) }"
        self.page.evaluate(change, f"JupyterLab {name}")
        self.page.wait_for_timeout(1500)

    def save(self) -> Path:
        """Save by the keyboard; returns the file."""
        self.page.locator(".jp-NotebookPanel .jp-Notebook").first.focus()
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
        return self.lab.pages / f"{self.name}.ipynb"

    def close(self) -> None:
        """Leave the page, and its kernel to nobody."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown() }")
        self.page.close()

    def _wait_until_ready(self) -> None:
        """Until the chapter is open and its kernel idle; the address makes JupyterLab load itself twice."""
        end = time.monotonic() + 3 * MINUTE / 1000
        while time.monotonic() < end:
            with suppress(Error):  # the page may go away under the question
                if self.page.evaluate(READY):
                    return
            self.page.wait_for_timeout(300)
        raise TimeoutError(f"{self.name} did not come to rest")

    def _gate(self, route: Route) -> None:
        if route.request.url.startswith((self.lab.home, "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def _note(self, text: str) -> None:
        self.complaints.append(text[:500])


def errors(path: Path) -> list[str]:
    """Tracebacks in a saved chapter."""
    page: NotebookNode = nbformat.read(path, as_version=4)
    outputs = [output for cell in page.cells if cell.cell_type == "code" for output in cell.outputs]
    return [f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"]


def changed_pixels(before: np.ndarray, after: np.ndarray) -> int:
    """How many differ visibly."""
    assert before.shape == after.shape, "the widget changed its size"
    return int((np.abs(before - after).max(axis=-1) > 8).sum())
