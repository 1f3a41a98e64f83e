"""Charts of numbers: one call a figure, units on the axes."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from spinkit.view.style import BLACK, PALETTE, page

Number = int | float
Numbers = Tensor | np.ndarray | Sequence[Number]
DASHES = ("-", "--", "-.", ":")
"""A second way, beside colour, to tell curves apart."""


def curves(
    at: Numbers,
    series: Mapping[str, Numbers],
    x: str,
    y: str,
    top: Number | None = None,
    log: bool = False,
) -> Figure:
    """Curves over one quantity.

    Args:
        at: its values.
        series: name of each curve, and its values there.
        x: what is told across, with its unit: "error (px)".
        y: what is told upwards, with its unit.
        top: cut the figure there.
        log: a logarithmic scale upwards.
    """
    across = _array(at)
    with page(6.4, 3.2) as (figure, axes):
        place = axes[0, 0]
        for number, (name, values) in enumerate(series.items()):
            style = DASHES[number // len(PALETTE) if len(series) > len(PALETTE) else number % len(DASHES)]
            place.plot(across, _array(values), style, label=name)
        place.set(xlabel=x, ylabel=y)
        if log:
            place.set_yscale("log")
        if top is not None:
            lowest = min(float(_array(values).min()) for values in series.values())
            place.set_ylim(None if log else lowest - 0.04 * (top - lowest), top)
        if len(series) > 1:
            place.legend()
    return figure


def energy_bars(energies: Mapping[str, Mapping[str, Tensor | Number]], unit: str = "energy") -> Figure:
    """Each term of some fits' objectives; the mean where a term has a number a person.

    Args:
        energies: {"start": {"reprojection": ..., "pose prior": ...}, "fitted": {...}}.
        unit: what the bars are in; the scale is logarithmic below and above 1.
    """
    terms = list(dict.fromkeys(term for energy in energies.values() for term in energy))
    rows = np.arange(len(terms))
    thickness = 0.8 / max(len(energies), 1)
    with page(6.4, 0.8 + 0.22 * len(terms) * (1 + len(energies))) as (figure, axes):
        place = axes[0, 0]
        for number, (name, energy) in enumerate(energies.items()):
            means = [float(_array(energy.get(term, 0.0)).mean()) for term in terms]
            bars = place.barh(rows + thickness * number, means, 0.9 * thickness, label=name)
            place.bar_label(bars, [f" {mean:,.0f}" if mean >= 100 else f" {mean:.3g}" for mean in means], fontsize=7)
        place.set_xscale("symlog", linthresh=1.0)
        place.set_yticks(rows + thickness * (len(energies) - 1) / 2, terms)
        place.set(xlabel=unit)
        place.margins(x=0.15)
        place.invert_yaxis()
        place.grid(visible=False, axis="y")
        if len(energies) > 1:
            place.legend()
    return figure


def bars(names: Sequence[str], groups: Mapping[str, Float[Tensor, "people bars"]], x: str) -> Figure:
    """Mean over people, a bar a name; whiskers of two standard errors tell what is chance.

    Args:
        names: of the bars.
        groups: name of each group of bars, and what every person has there.
        x: what the numbers are, with the unit.

    Raises:
        ValueError: a group that has not one bar a name.
    """
    rows, thickness = np.arange(len(names)), 0.8 / max(len(groups), 1)
    with page(6.4, 0.8 + 0.12 * len(names) * (0.6 + len(groups))) as (figure, axes):
        place = axes[0, 0]
        for number, (name, values) in enumerate(groups.items()):
            if values.ndim != 2 or values.shape[1] != len(names):
                raise ValueError(f"{name}: values {tuple(values.shape)} need one column each of {len(names)} names")
            mean, spread = _array(values.mean(dim=0)), _array(values.std(dim=0)) / np.sqrt(len(values))
            whiskers = {"elinewidth": 0.8, "ecolor": BLACK}
            place.barh(rows + thickness * number, mean, 0.9 * thickness, label=name, xerr=2 * spread, error_kw=whiskers)
        place.set_yticks(rows + thickness * (len(groups) - 1) / 2, names)
        place.set(xlabel=x)
        place.margins(y=0.01)
        place.invert_yaxis()
        place.grid(visible=False, axis="y")
        if len(groups) > 1:
            # Beside the bars: a legend among them would cover whiskers.
            figure.legend(loc="outside upper right", ncols=len(groups))
    return figure


def histogram(
    samples: Mapping[str, Numbers],
    x: str,
    threshold: Number | None = None,
    bins: int = 40,
    top: Number | None = None,
) -> Figure:
    """How many people have which value, and how many lie under a threshold.

    Args:
        samples: name of each group, and its values.
        x: what they are, with the unit.
        threshold: drawn as a line; the legend says which part of each group lies under it.
        bins: number of bars.
        top: values above are counted in the last bar, and the axis says so.
    """
    values = {name: _array(group) for name, group in samples.items()}
    highest = top if top is not None else max(float(group.max()) for group in values.values())
    lowest = min(0.0, *(float(group.min()) for group in values.values()))
    edges = np.linspace(lowest, highest, bins + 1)
    with page(6.4, 3.0) as (figure, axes):
        place = axes[0, 0]
        for name, group in values.items():
            under = "" if threshold is None else f": {100 * (group < threshold).mean():.0f} % under {threshold:g}"
            place.hist(group.clip(max=highest), edges, histtype="stepfilled", alpha=0.5, label=name + under)
        if threshold is not None:
            place.axvline(threshold, color=BLACK, linestyle="--", linewidth=1.2)
        # Nobody is half a person.
        place.yaxis.get_major_locator().set_params(integer=True)
        place.set(xlabel=x + (f"; the last bar holds all above {top:g}" if top is not None else ""), ylabel="people")
        place.legend()
    return figure


def dictionary_timeline(history: Mapping[str, Numbers], at: str = "step") -> Figure:
    """How the dictionary of fits changes during training: one small chart a quantity, over a common axis.

    Args:
        history: what was written down, by name with unit, such as {"step": ..., "valid fits (%)": ...}.
        at: the name of the common axis.

    Raises:
        ValueError: without the common axis, or without anything to draw over it.
    """
    if at not in history or len(history) < 2:
        raise ValueError(f"a timeline needs {at!r} and something to draw over it, got {list(history)}")
    names = [name for name in history if name != at]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    across = _array(history[at])
    with page(2.9 * columns + 0.4, 2.1 * rows + 0.3, rows, columns, share="x") as (figure, axes):
        for number, place in enumerate(axes.flat):
            if number >= len(names):
                place.set_axis_off()
                continue
            values = _array(history[names[number]])
            place.plot(across, values, marker="o", markersize=3, color=PALETTE[number % len(PALETTE)])
            place.annotate(
                f"{values[-1]:.3g}", (across[-1], values[-1]), (0, 5), textcoords="offset points", fontsize=8
            )
            place.set(title=names[number])
            place.margins(y=0.18)
            place.tick_params(labelbottom=True)
            if number + columns >= len(names):
                place.set_xlabel(at)
    return figure


def matrix(
    values: Float[Tensor, "rows columns"], rows: Sequence[str], columns: Sequence[str], unit: str, height: float = 6.5
) -> Figure:
    """A table of numbers as shades, with its rows' and columns' names; exact zeros stay white.

    Args:
        values: not negative.
        rows: a name each.
        columns: a name each.
        unit: what the numbers are, written at the colour bar.
        height: inches.
    """
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"values {tuple(values.shape)} need as many names, got {len(rows)} and {len(columns)}")
    shades = np.ma.masked_equal(values.detach().cpu().double().numpy(), 0)
    with page(7.0, height) as (figure, axes):
        place = axes[0, 0]
        drawn = place.imshow(shades, cmap="viridis_r", aspect="auto", interpolation="nearest")
        place.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
        place.set_yticks(range(len(rows)), rows, fontsize=7)
        place.grid(visible=False)
        figure.colorbar(drawn, ax=place, label=unit, shrink=0.6)
    return figure


@dataclass(frozen=True)
class Table:
    """Rows of named values, as a notebook shows them and as text."""

    rows: tuple[Mapping[str, object], ...]
    lower_is_better: tuple[str, ...] = ()
    """The columns whose smallest number is set in bold."""

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __str__(self) -> str:
        cells = [self.columns, *([_text(row.get(name, "")) for name in self.columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(self._cell(row, name) for name in self.columns)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cell(self, row: Mapping[str, object], name: str) -> str:
        text = html.escape(_text(row.get(name, "")))
        numbers = [r[name] for r in self.rows if isinstance(r.get(name), int | float)]
        if name in self.lower_is_better and numbers and row.get(name) == min(numbers):
            text = f"<b>{text}</b>"
        return f"<td>{text}</td>"


def loop_table(rows: Sequence[Mapping[str, object]], lower_is_better: Sequence[str] = ()) -> Table:
    """A table of results, one row a run or a round; the best number of the named columns is bold."""
    plain = [{k: v.item() if isinstance(v, Tensor | np.generic) else v for k, v in row.items()} for row in rows]
    return Table(tuple(plain), tuple(lower_is_better))


def _array(values: Numbers | Number) -> np.ndarray:
    return (
        values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, float)
    ).reshape(-1)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
