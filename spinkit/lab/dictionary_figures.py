"""Charts of the dictionary explorer: built once, then only their numbers change.

Every batch of changes sets the same properties of all its traces, as `canvas` asks.
"""

import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from spinkit.lab.canvas import GRID
from spinkit.lab.dictionary_data import Ledger, ShapeLimit, Threshold, history_column
from spinkit.view.style import BLUE, GREEN, INK, ORANGE, PALETTE, SKY, VERMILION, Colour, css, page

MOST_BINS = 50
CURVE = 120
"""Thresholds at which the curve of the supervision's error is known."""
SUPERVISES, REFUSED = css(BLUE), css(ORANGE)
WIDTH = 960
"""Pixels, as wide as a row of the gallery."""
LEAST = 0.1
"""px^2; below it errors are not told apart."""
TICKS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


def blank(titles: list[tuple[str, str]], height: int = 300) -> go.Figure:
    """Axes side by side, on a transparent ground; to become a `canvas` when they are filled.

    Args:
        titles: of the x and y axis of each.
        height: pixels.
    """
    figure = make_subplots(1, len(titles), horizontal_spacing=0.09)
    quiet = {"gridcolor": GRID, "zerolinecolor": GRID}
    for column, (x, y) in enumerate(titles, 1):
        figure.update_xaxes(title_text=x, **quiet, row=1, col=column)
        figure.update_yaxes(title_text=y, **quiet, row=1, col=column)
    figure.update_layout(
        template="none",
        height=height,
        width=WIDTH,
        margin={"l": 55, "r": 10, "t": 34, "b": 45},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"color": INK},
        legend={"orientation": "h", "y": 1.14},
        barmode="stack",
        bargap=0.0,
        uirevision="kept",
    )
    return figure


def _see_through(colour: Colour, alpha: float) -> str:
    return css(colour).replace("rgb", "rgba").replace(")", f", {alpha})")


class Timeline:
    """Errors of the crowd over time with one sample's line, and beside it the rates of the loop."""

    def __init__(self):
        self.figure = blank([("step", "error (px²)"), ("step", "of a batch (%)")])
        line = {"mode": "lines", "hoverinfo": "skip", "line": {"width": 0}, "showlegend": False}
        soft, firm = _see_through(SKY, 0.25), _see_through(SKY, 0.45)
        marked = {"mode": "lines", "line": {"color": css(VERMILION), "width": 2}}
        bands = [
            go.Scatter(**line),
            go.Scatter(**{**line, "showlegend": True}, fill="tonexty", fillcolor=soft, name="80 % of all"),
            go.Scatter(**line),
            go.Scatter(**{**line, "showlegend": True}, fill="tonexty", fillcolor=firm, name="half of all"),
            go.Scatter(mode="lines", line={"color": css(BLUE), "width": 2}, name="median"),
            go.Scatter(**marked, name="chosen person"),
        ]
        self.figure.add_traces(bands, rows=[1] * 6, cols=[1] * 6)
        rates = [
            go.Scatter(mode="lines", line={"color": css(colour)}, name=name)
            for name, colour in (("replaced", GREEN), ("supervising", ORANGE))
        ]
        self.figure.add_traces(rates, rows=[1, 1], cols=[2, 2])

    def show_run(self, ledger: Ledger) -> None:
        """Another run, or the same one later."""
        moments, bands, self.top = _crowd(ledger)
        with self.figure.batch_update():
            for trace, column in zip(self.figure.data[:5], (0, 4, 1, 3, 2), strict=True):
                trace.x, trace.y = moments, bands[:, column]
            for trace, name in zip(self.figure.data[6:], ("updated", "valid"), strict=True):
                trace.x, rate = history_column(ledger.run.history, name)
                trace.y = [100 * value for value in rate]
            low = np.log10(max(LEAST, 0.7 * float(bands.min(initial=self.top))))
            self.figure.layout.yaxis.update(type="log", range=[low, np.log10(self.top)])

    def show_person(self, ledger: Ledger, key: int) -> None:
        """The line of another sample, raised into view where it leaves it."""
        steps, errors = ledger.line(key)
        with self.figure.batch_update():
            self.figure.data[5].x, self.figure.data[5].y = steps, np.clip(errors, LEAST, self.top)
            self.figure.data[5].name = f"person {key}"


class Rules:
    """Three charts that the two sliders move: errors cut in two, what that does to the supervision, and betas."""

    def __init__(self):
        titles = [("error (px²)", "fits"), ("threshold (px²)", "mean of those kept (mm)"), ("largest |beta|", "fits")]
        self.figure = blank(titles)
        bar = {"hovertemplate": "%{x:.1f}: %{y}<extra></extra>"}
        kept = [
            go.Bar(**bar, marker_color=SUPERVISES, name="supervises"),
            go.Bar(**bar, marker_color=REFUSED, name="refused"),
        ]
        dot = {"mode": "markers", "showlegend": False, "marker": {"size": 11, "color": css(VERMILION)}}
        curves = [
            go.Scatter(mode="lines", line={"color": css(colour), "dash": dash}, name=name)
            for name, colour, dash in (("PA-MPJPE", BLUE, "solid"), ("MPJPE", GREEN, "dash"))
        ]
        believed = [
            go.Bar(**bar, marker_color=SUPERVISES, name="believed", showlegend=False),
            go.Bar(**bar, marker_color=REFUSED, name="set to zero", showlegend=False),
        ]
        traces = [*kept, *curves, go.Scatter(**dot), go.Scatter(**dot), *believed]
        self.figure.add_traces(traces, rows=[1] * 8, cols=[1, 1, 2, 2, 2, 2, 3, 3])
        for column in (1, 2, 3):
            self.figure.add_vline(0, line={"color": css(VERMILION), "width": 2}, row=1, col=column)

    def show_run(self, threshold: Threshold, limit: ShapeLimit, span: tuple[float, float]) -> None:
        """Another run; what the sliders say comes after it.

        Args:
            threshold: its errors, sorted.
            limit: its betas, sorted.
            span: decimal logarithms of the first and last error to show, px^2.
        """
        bins = bins_for(len(threshold.sorted))
        edges, shape_edges = np.linspace(*span, bins + 1), np.linspace(0, max(4.0, float(limit.sorted[-1])), bins + 1)
        self.places = _whole(np.searchsorted(threshold.sorted, 10**edges), len(threshold.sorted))
        self.shape_places = _whole(np.searchsorted(limit.sorted, shape_edges), len(limit.sorted))
        at = np.linspace(*span, CURVE)
        with self.figure.batch_update():
            for trace, values in zip(self.figure.data[2:4], threshold.curve(10**at).T, strict=True):
                trace.x, trace.y = at, values
        with self.figure.batch_update():
            for bars, ends in ((self.figure.data[:2], edges), (self.figure.data[6:], shape_edges)):
                for trace in bars:
                    trace.x, trace.width = (ends[1:] + ends[:-1]) / 2, ends[1] - ends[0]
            for axis in (self.figure.layout.xaxis, self.figure.layout.xaxis2):
                axis.range, axis.tickvals, axis.ticktext = span, np.log10(TICKS), [f"{tick:g}" for tick in TICKS]

    def show_threshold(self, threshold: Threshold, value: float) -> None:
        """Cut the errors anew."""
        kept = threshold.kept(value)
        with self.figure.batch_update():
            _cut(self.figure.data[:2], self.places, threshold.place(value))
        with self.figure.batch_update():
            for trace, mean in zip(self.figure.data[4:6], (kept.pa_mpjpe, kept.mpjpe), strict=True):
                trace.x, trace.y = [np.log10(value)], [mean]
            for line in self.figure.layout.shapes[:2]:
                line.x0 = line.x1 = np.log10(value)

    def show_limit(self, limit: ShapeLimit, value: float) -> None:
        """Cut the betas anew."""
        with self.figure.batch_update():
            _cut(self.figure.data[6:], self.shape_places, len(limit.sorted) - limit.affected(value))
            self.figure.layout.shapes[2].x0 = self.figure.layout.shapes[2].x1 = value


def bins_for(count: int) -> int:
    """As many bars as that many numbers fill."""
    return int(np.clip(2 * np.sqrt(count), 8, MOST_BINS))


def _whole(places: np.ndarray, count: int) -> np.ndarray:
    """Let the first and last bar hold all that lies beyond them, such as fits that cannot be judged."""
    places[0], places[-1] = 0, count
    return places


def _cut(bars: tuple[go.Bar, go.Bar], places: np.ndarray, place: int) -> None:
    """Share the counts of a histogram out to two colours: those before a place in the sorted values, and the rest."""
    below, whole = np.diff(np.minimum(places, place)), np.diff(places)
    bars[0].y, bars[1].y = below, whole - below


def still(ledger: Ledger, threshold: Threshold, value: float, key: int) -> Figure:
    """The explorer's point without its handles: errors over time, the rule's cut, and what it buys."""
    with page(10.0, 3.0, 1, 3) as (figure, axes):
        over_time, errors, bought = axes[0]
        _draw_crowd(over_time, ledger, key)
        _draw_cut(errors, threshold, value)
        _draw_bought(bought, threshold, value)
    return figure


def _crowd(ledger: Ledger) -> tuple[np.ndarray, np.ndarray, float]:
    """Moments, the bands of everyone's errors at each, and the upper edge: a band that goes to infinity ends there."""
    moments, bands = ledger.crowd()
    top = 1.3 * float(bands[np.isfinite(bands)].max(initial=10 * LEAST))
    return moments, np.clip(bands, LEAST, top), top


def _draw_crowd(place, ledger: Ledger, key: int) -> None:
    moments, bands, top = _crowd(ledger)
    steps, errors = ledger.line(key)
    place.fill_between(moments, bands[:, 0], bands[:, 4], color=SKY, alpha=0.25, lw=0, label="80 % of all")
    place.fill_between(moments, bands[:, 1], bands[:, 3], color=SKY, alpha=0.45, lw=0, label="half of all")
    place.plot(moments, bands[:, 2], color=BLUE, label="median")
    place.plot(steps, np.clip(errors, LEAST, top), color=VERMILION, lw=1.3, label=f"person {key}")
    place.set(xlabel="step", ylabel="error (px²)", yscale="log")
    place.legend()


def _draw_cut(place, threshold: Threshold, value: float) -> None:
    edges = 10 ** np.linspace(*log_span(threshold, value), bins_for(len(threshold.sorted)) + 1)
    errors = np.clip(threshold.sorted, edges[0], edges[-1])
    cut = threshold.place(value)
    labels = [f"supervise: {cut}", f"refused: {len(errors) - cut}"]
    place.hist([errors[:cut], errors[cut:]], edges, stacked=True, color=[BLUE, ORANGE], label=labels)
    place.axvline(value, color=VERMILION)
    place.set(xlabel="error (px²)", ylabel="fits", xscale="log", ylim=(0, 1.25 * place.get_ylim()[1]))
    place.legend(loc="upper right")


def _draw_bought(place, threshold: Threshold, value: float) -> None:
    at = 10 ** np.linspace(*log_span(threshold, value), CURVE)
    means, now = threshold.curve(at), threshold.kept(value)
    for column, (name, mean) in enumerate((("PA-MPJPE", now.pa_mpjpe), ("MPJPE", now.mpjpe))):
        known = threshold.truth is not None
        place.plot(at, means[:, column], color=PALETTE[2 * column], label=f"{name}: {mean:.1f} mm" if known else name)
        place.plot([value], [mean], "o", color=VERMILION)
    place.set(xlabel="threshold (px²)", ylabel="mean of those kept (mm)", xscale="log")
    place.legend()


def log_span(threshold: Threshold, value: float) -> tuple[float, float]:
    """Decimal logarithms of the smallest and largest threshold worth looking at; the run's own lies between them."""
    finite = threshold.sorted[np.isfinite(threshold.sorted)]
    low, high = np.percentile(finite, (0.5, 99.5), method="lower") if len(finite) else (value, value)
    return float(np.log10(max(min(low, value), LEAST))), float(np.log10(max(high, 1.5 * value, 10 * LEAST)))
