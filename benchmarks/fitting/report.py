"""The report as markdown tables."""

from fitting.routines import NAMES

SHORT = {"start": "the start", **NAMES}


def table(head: list[str], rows: list[list[str]]) -> str:
    """One markdown table; numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.2f} ms"


def speed(report: dict) -> str:
    """By batch size; what was not measured stays empty."""
    head = ["batch", *(f"{name[:3]} s/batch" for name in NAMES.values())]
    head += [*(f"{name[:3]} fits/s" for name in NAMES.values()), "(a)/(c)", "(b)/(c)", "(c) process peak", "(c) added"]
    rows = []
    for size, found in report["speed"].items():
        row = [size] + [seconds(found[n]["seconds"]) if n in found else "" for n in NAMES]
        row += [f"{found[n]['fits_per_second']:.1f}" if n in found else "" for n in NAMES]
        row += [f"{found['lm'][key]:.1f}" if key in found["lm"] else "" for key in ("times_published", "times_adam")]
        held = report.get("memory", {}).get(size, {}).get("lm")
        row += [megabytes(held["peak"]), megabytes(held["peak"] - held["before"])] if held else ["", ""]
        rows.append(row)
    return table(head, rows)


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


def memory(report: dict) -> str:
    """What a batch adds to the process, by routine."""
    rows = [
        [size, *(megabytes(held[n]["peak"] - held[n]["before"]) if n in held else "" for n in NAMES)]
        for size, held in report["memory"].items()
    ]
    return table(["memory added by a batch of", *NAMES.values()], rows)


def quality(report: dict, group: str) -> str:
    """Against the objective and the truth, for one group of people."""
    head = ["", "objective at most (a)'s", "objective", "PA-MPJPE", "of (a)'s", "MPJPE", "of (a)'s"]
    head += ["reprojection, mean", "median", "steps, mean", "most"]
    rows = [
        [
            SHORT[name],
            f"{100 * f['at_most_published']:.1f} %",
            f"{f['objective']:.0f}",
            f"{f['pa_mpjpe_mm']:.1f} mm",
            f"{f['pa_mpjpe_ratio']:.3f}",
            f"{f['mpjpe_mm']:.1f} mm",
            f"{f['mpjpe_ratio']:.3f}",
            f"{f['pixels']:.2f} px",
            f"{f['median_pixels']:.2f} px",
            f"{f['iterations']:.1f}",
            f"{f['most_iterations']:.0f}",
        ]
        for name, f in report["quality"]["groups"][group]["routines"].items()
    ]
    return table(head, rows)


def floor(report: dict) -> str:
    """Time over arithmetic."""
    f = report["floor"]
    per = f["operations_per_iteration"] / 1e6
    rows = [
        [
            {"squares": "large squares, 256 × 256", "J'J": "the fit's own J'J"}[name],
            f"{rate / 1e9:.1f} GFLOP/s",
            seconds(f["floor_seconds"][name]),
            seconds(f["seconds"]),
            f"{f['over_floor'][name]:.1f}",
        ]
        for name, rate in f["rates"].items()
    ]
    steps = f"{f['camera_iterations']:.1f} + {f['body_iterations']:.1f}"
    text = f"One iteration of one sample: {per:.2f} million operations; {steps} iterations a sample.\n\n"
    head = ["products of", "rate", "floor of a batch", "LM takes", "time over floor"]
    where = [[r["operation"], f"{100 * r['share']:.1f} %", str(r["calls"])] for r in f["profile"]]
    spent = table(["where the time goes, one batch", "share", "calls"], where)
    return f"{text}{table(head, rows)}\n\n{spent}"


def layer(report: dict) -> str:
    """Seconds and how often they go into smplx's and our mesh's."""
    found = report["layer"]["seconds"]
    kinds = ("forward", "forward and backward")
    head = [f"batch {report['layer']['batch']}"]
    for kind in kinds:
        head += [kind, "smplx mesh takes", "our mesh takes"]
    rows = []
    for name, by_kind in found.items():
        row = [name]
        for kind in kinds:
            row += [seconds(by_kind[kind])]
            row += [f"{found[mesh][kind] / by_kind[kind]:.2f} ×" for mesh in ("smplx mesh", "our mesh")]
        rows.append(row)
    apart = ", ".join(f"{name} {value:.1e} m" for name, value in report["layer"]["largest_difference_m"].items())
    return table(head, rows) + f"\n\nFarthest apart, ours and smplx's: {apart}."


def initial(report: dict) -> str:
    """Initial fits by the number of headings."""
    head = ["initial fits", "heading within 45°", "PA-MPJPE", "where right", "MPJPE", "steps, mean", "fits/s"]
    rows = [
        [
            name,
            f"{100 * f['heading_right']:.1f} %",
            f"{f['pa_mpjpe_mm']:.1f} mm",
            f"{f['pa_mpjpe_where_right_mm']:.1f} mm",
            f"{f['mpjpe_mm']:.1f} mm",
            f"{f['iterations']:.1f}",
            f"{f['fits_per_second']:.0f}",
        ]
        for name, f in report["initial"].items()
    ]
    return table(head, rows)


def training(report: dict) -> str:
    """The share of a training step that goes into fits."""
    head = ["a training step of", "without fits", "with fits", "share of fits", "bare fit", "over the step"]
    rows = [
        [
            f["network"],
            *(seconds(f[key]) for key in ("without fits", "with fits")),
            f"{100 * f['share_of_step']:.1f} %",
            seconds(f["bare fit"]),
            f"{100 * f['bare_fit_over_step']:.1f} %",
        ]
        for f in report["training"]
    ]
    return table(head, rows)


def certainty(report: dict) -> str:
    """How many true keypoints lie within two reported standard deviations; of a Gaussian it would be 95 %."""
    head = ["fits", "within two, depth", "within two, across", "deviation in depth, median", "across, median"]
    rows = [
        [
            name,
            f"{100 * f['within_depth']:.1f} %",
            f"{100 * f['within_across']:.1f} %",
            f"{f['median_depth_mm']:.0f} mm",
            f"{f['median_across_mm']:.0f} mm",
        ]
        for name, f in report["certainty"].items()
    ]
    return table(head, rows)
