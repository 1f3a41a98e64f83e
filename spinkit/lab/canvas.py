"""Plotly figures as widgets that arrive on the page, however busy the machine is.

Every `FigureWidget` brings five megabytes of JavaScript of its own. A page that takes more than two seconds to read
them drops whatever the kernel says to that figure from then on, and it stays empty: anywidget waits no longer, and
plotly sends the figure's data after the widget. Here the JavaScript travels once for all figures of a kernel, and each
figure's own share is a dozen lines, read at once, that wait for it as long as it takes.

Source: plotly 7.1, basewidget.py; anywidget 0.11, `AbortSignal.timeout(2000)` before `_handle_comm_msg`.
"""

from functools import cache

import anywidget
import plotly.graph_objects as go
import traitlets
from plotly import basewidget

GRID = "rgba(127, 127, 127, 0.3)"
"""Of the axes of all figures: seen on white and on black."""
_SHARED = """
const shared = (globalThis.spinkitPlotly ??= (() => {
  let give;
  const got = new Promise(resolve => { give = resolve; });
  return { got, give, begun: false };
})());
"""
_CARRIES = """
export default {
  initialize({ model }) {
    if (shared.begun) return;
    shared.begun = true;
    const held = new Blob([model.get("source")], { type: "text/javascript" });
    import(URL.createObjectURL(held)).then(plotly => shared.give(plotly.default));
  },
};
"""
_WAITS = """
export default () => {
  let figure;
  return {
    initialize(said) {
      figure = shared.got.then(make => { const made = make(); made.initialize(said); return made; });
    },
    async render(said) { return (await figure).render(said); },
  };
};
"""


class _Carrier(anywidget.AnyWidget):
    """Brings plotly's JavaScript to the page; nothing of it is seen."""

    _esm = _SHARED + _CARRIES
    source = traitlets.Unicode().tag(sync=True)


class Canvas(go.FigureWidget):
    """A figure widget whose JavaScript comes from the carrier."""

    _esm = _SHARED + _WAITS


@cache
def _carrier() -> _Carrier:
    return _Carrier(source=str(basewidget.BaseFigureWidget._esm))


def canvas(figure: go.Figure) -> Canvas:
    """The figure as a widget; hand it in complete.

    What is sent to a widget before a page shows it may be lost there. Later changes arrive, but a batch that sets a
    property of one trace and not of another that it touches unsets it there: let every batch set the same properties of
    all its traces.
    """
    _carrier()
    shown = Canvas(figure)
    # The bar would lie over titles and legend while the mouse rests on the figure.
    shown._config = {**shown._config, "displayModeBar": False}
    return shown
