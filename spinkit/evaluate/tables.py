"""The paper's tables 1 to 4 as data, and a row of ours beside them.

Source: Kolotouros et al. 2019, tables 1 to 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spinkit.data import TEST_FILES

DATASETS = {
    "3dpw": "3DPW, test",
    "lsp": "LSP, test, with UP-3D's silhouettes and parts",
    "h36m-p1": "Human3.6M, protocol 1: S9 and S11, all four cameras",
    "h36m-p2": "Human3.6M, protocol 2: S9 and S11, the frontal camera",
    "mpi-inf-3dhp": "MPI-INF-3DHP, test, the universal skeletons",
}
"""SPIN's names of the sets that the tables were measured on."""

COLUMNS = {
    "3dpw": {"pa_mpjpe": "PA-MPJPE (mm)"},
    "lsp": {
        "fb_accuracy": "FB accuracy (%)",
        "fb_f1": "FB F1",
        "part_accuracy": "part accuracy (%)",
        "part_f1": "part F1",
    },
    "h36m-p1": {"pa_mpjpe": "PA-MPJPE (mm)"},
    "h36m-p2": {"pa_mpjpe": "PA-MPJPE (mm)"},
    "mpi-inf-3dhp": {
        "pck150": "PCK (%)",
        "auc": "AUC (%)",
        "mpjpe": "MPJPE (mm)",
        "pa_pck150": "aligned PCK (%)",
        "pa_auc": "aligned AUC (%)",
        "pa_mpjpe": "aligned MPJPE (mm)",
    },
}
"""What each table lists: measures by their name in `means()`, and the heads of their columns."""

FACTORS = {"(mm)": 1000, "(%)": 100}
"""From metres and shares to the unit that a column's head names."""


@dataclass(frozen=True)
class Published:
    """A row of the paper."""

    table: int
    dataset: str
    method: str
    values: tuple[float | None, ...]
    """In the order and units of `COLUMNS`; None where the paper has no number."""

    def row(self) -> dict[str, object]:
        """The row as tables show it."""
        numbers = zip(COLUMNS[self.dataset].values(), self.values, strict=True)
        known = {head: value for head, value in numbers if value is not None}
        return {"method": self.method, "source": f"paper, table {self.table}", **known}


def _rows(table: int, dataset: str, rows: Mapping[str, tuple[float | None, ...]]) -> tuple[Published, ...]:
    return tuple(Published(table, dataset, method, values) for method, values in rows.items())


PUBLISHED = (
    *_rows(
        1,
        "3dpw",
        {
            "HMR": (81.3,),
            "temporal HMR": (72.6,),
            "Arnab et al.": (72.2,),
            "CMR": (70.2,),
            "SPIN, static fits": (66.3,),
            "SPIN, in the loop": (59.2,),
        },
    ),
    *_rows(
        2,
        "lsp",
        {
            "SMPLify, oracle": (92.17, 0.88, 88.82, 0.67),
            "SMPLify": (91.89, 0.88, 87.71, 0.64),
            "SMPLify on Pavlakos et al.": (92.17, 0.88, 88.24, 0.64),
            "HMR": (91.67, 0.87, 87.12, 0.60),
            "SPIN, static fits": (91.07, 0.86, 88.48, 0.65),
            "SPIN, in the loop": (91.83, 0.87, 89.41, 0.68),
        },
    ),
    # The table itself names no protocol in what was read; HMR's and NBF's numbers are those of protocol 2.
    *_rows(
        3,
        "h36m-p2",
        {
            "Lassner et al., no 3D truth": (93.9,),
            "SMPLify, no 3D truth": (82.3,),
            "Pavlakos et al., no 3D truth": (75.9,),
            "HMR, no 3D truth": (66.5,),
            "SPIN, no 3D truth": (62.0,),
            "NBF": (59.9,),
            "HMR": (56.8,),
            "SPIN": (41.1,),
        },
    ),
    *_rows(
        4,
        "mpi-inf-3dhp",
        {
            "HMR, no 3D truth": (59.6, 27.9, 169.5, 77.1, 40.7, 113.2),
            "SPIN, no 3D truth": (66.8, 30.2, 124.8, 87.0, 48.5, 80.4),
            "Mehta et al.": (75.7, 39.3, 117.6, None, None, None),
            "VNect": (76.6, 40.4, 124.7, 83.9, 47.3, 98.0),
            "HMR": (72.9, 36.5, 124.2, 86.3, 47.8, 89.8),
            "SPIN": (76.4, 37.1, 105.2, 92.5, 55.6, 67.5),
        },
    ),
)
"""Every row of the four tables, in their order."""


def beside(dataset: str, measured: Mapping[str, Mapping[str, float]]) -> list[dict[str, object]]:
    """The paper's rows for a set, then ours in the same columns and units.

    Args:
        dataset: one of `DATASETS`.
        measured: the means of each network of ours by its name; no means leave the row empty.

    Raises:
        ValueError: the set is unknown.
    """
    if dataset not in DATASETS:
        raise ValueError(f"no table has a set {dataset!r}; choose one of {', '.join(DATASETS)}")
    paper = [published.row() for published in PUBLISHED if published.dataset == dataset]
    return paper + [
        {"method": name, "source": "measured here" if means else "not measured", **in_units(dataset, means)}
        for name, means in measured.items()
    ]


def how_to_measure(dataset: str) -> str:
    """The command that fills a row of a set, where its data and SMPL are there."""
    masks = " --masks UPI_S1H" if dataset == "lsp" else ""
    given = f"--checkpoint CHECKPOINT --dataset {dataset} --npz {TEST_FILES[dataset]} --images PHOTOS{masks}"
    return f"./run evaluate {given} --body data/smpl"


def in_units(dataset: str, means: Mapping[str, float]) -> dict[str, float]:
    """The measures of a set's table by the heads of its columns, in their units."""
    columns = COLUMNS[dataset]
    return {head: means[name] * FACTORS.get(head.split()[-1], 1) for name, head in columns.items() if name in means}


def text_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of named values in columns that line up."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    cells = [heads, *([_text(head, row.get(head, "")) for head in heads] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _text(head: str, value: object) -> str:
    """A number with the digits that the paper gives it."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}" if head.endswith("F1") or "accuracy" in head else f"{value:.1f}"
