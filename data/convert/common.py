"""What the converters share: one person's row, boxes, the order of points, the command line, and the file.

Units of the file: pixels of the photo, as the data set gives them (the published bias of up to one pixel comes from
rounding at cropping, not from here: nothing is rounded); metres in the camera's frame, from the pelvis; radians.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float

from spinkit.data.spin_npz import PIXELS_A_SCALE
from spinkit.keypoints import ANNOTATED, SOURCES

MARGIN = 1.2
"""Side of a box in longer sides of what it holds. Source: SPIN, datasets/preprocess."""
MILLIMETRES = 1000

LSP14 = tuple(i - ANNOTATED.start for i in SOURCES["lsp14"])
COCO17 = tuple(i - ANNOTATED.start for i in SOURCES["coco17"])
MPII16 = tuple(i - ANNOTATED.start for i in SOURCES["mpii16"])
H36M17 = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)
"""Where pelvis, left leg, right leg, spine, neck, jaw, head, left and right arm go among the 24 annotated points."""


@dataclass(frozen=True)
class Person:
    """One row of the file; None where the data set does not say."""

    imgname: str
    """The photo, relative to the data set's folder, with / between folders."""
    center: Sequence[float]
    """Middle of the box, pixels."""
    scale: float
    """Side of the box in 200 pixels."""
    part: Float[np.ndarray, "24 3"] | None = None
    S: Float[np.ndarray, "24 4"] | None = None
    pose: Float[np.ndarray, "72"] | None = None
    shape: Float[np.ndarray, "10"] | None = None
    gender: str | None = None
    maskname: str | None = None
    partname: str | None = None


@dataclass(frozen=True)
class Converted:
    """The people of a data set in the order of the file, and how many were left out for which reason."""

    people: list[Person]
    left_out: Counter


def box(
    lower: Float[np.ndarray, "2"], upper: Float[np.ndarray, "2"], margin: float = MARGIN
) -> tuple[Float[np.ndarray, "2"], float]:
    """Centre (pixels) and scale (200 pixels) of the square around a rectangle given by two corners."""
    return (lower + upper) / 2, margin * float((upper - lower).max()) / PIXELS_A_SCALE


def tight_box(points: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "2"], float]:
    """Centre and scale of the square around points."""
    return box(points.min(axis=0), points.max(axis=0))


def annotated(
    points: Float[np.ndarray, "n 2"], slots: Sequence[int], visible: Float[np.ndarray, "n"] | float = 1.0
) -> Float[np.ndarray, "24 3"]:
    """Points of one data set where they belong among the 24, zero where they are missing; pixels and 0 or 1."""
    placed = np.zeros((24, 3))
    placed[list(slots), 2] = visible
    placed[list(slots), :2] = points
    placed[placed[:, 2] == 0] = 0
    return placed


def rooted(joints: Float[np.ndarray, "17 3"]) -> Float[np.ndarray, "24 4"]:
    """Joints in millimetres, ordered as `H36M17`, as SPIN has them: metres from the pelvis, and which are known."""
    placed = np.zeros((24, 4))
    placed[list(H36M17), :3] = (joints - joints[0]) / MILLIMETRES
    placed[list(H36M17), 3] = 1
    return placed


def inside(points: Float[np.ndarray, "*n 2"], width: float, height: float) -> np.ndarray:
    """Which points lie in a photo of that size."""
    return ((points >= 0) & (points < np.array([width, height]))).all(axis=-1)


def expect_shape(array: np.ndarray, shape: tuple[int | None, ...], where: str, remedy: str) -> None:
    """Refuse an array of another shape; None stands for any length but 0.

    Raises:
        ValueError: naming `where`, both shapes and the remedy.
    """
    full = tuple(max(n, 1) if m is None else m for n, m in zip(array.shape, shape, strict=False))
    if array.ndim != len(shape) or array.shape != full or array.dtype.kind not in "fiub":
        wanted = ", ".join("N" if n is None else str(n) for n in shape)
        raise ValueError(f"{where} has shape {array.shape} of {array.dtype}, expected numbers ({wanted}); {remedy}")


def folder(path: Path, remedy: str) -> Path:
    """The same folder.

    Raises:
        FileNotFoundError: when it is none.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}; {remedy}")
    return path


def files_in(place: Path, pattern: str, remedy: str) -> list[Path]:
    """The files of a folder by name: what a file system lists has no order.

    Raises:
        FileNotFoundError: when there is no such folder, or no such file in it.
    """
    found = sorted(folder(place, remedy).glob(pattern))
    if not found:
        raise FileNotFoundError(f"no {pattern} in {place}; {remedy}")
    return found


def before_the_end(people: list[Person], root: Path, left_out: Counter) -> list[Person]:
    """The frames of one video up to the last that was extracted: annotations often go on after the pictures end."""
    there = [i for i, person in enumerate(people) if (root / person.imgname).is_file()]
    # Nothing extracted at all is no early end: the check of the photos then says what to do.
    end = there[-1] + 1 if there else len(people)
    left_out["the video ends before this frame"] += len(people) - end
    return people[:end]


def columns(people: list[Person]) -> dict[str, np.ndarray]:
    """The fields that are known, one row a person."""
    known = [f.name for f in fields(Person) if getattr(people[0], f.name) is not None]
    return {name: np.array([getattr(person, name) for person in people]) for name in known}


def save(path: Path, arrays: dict[str, np.ndarray], root: Path, remedy: str) -> None:
    """Write SPIN's npz, after a look at whether its photos exist and its numbers can be meant.

    Raises:
        FileNotFoundError: when photos are missing; `remedy` ends the message.
        ValueError: when a box has no size, or a number is not finite.
    """
    names = [str(name) for name in arrays["imgname"]]
    missing = [name for name in dict.fromkeys(names) if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} photos are missing, the first is {root / missing[0]}; {remedy}")
    for field, array in arrays.items():
        broken = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
        broken = broken | (array <= 0) if field == "scale" else broken
        if broken.any():
            row = int(np.argwhere(broken)[0, 0])
            raise ValueError(
                f"{names[row]}: {field} is {array[row].tolist()}, which no person has; fetch its annotation again"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft.npz")
    np.savez(draft, **arrays)
    draft.replace(path)


def command(doc: str, name: str, tree: str, faithful: str | None = None) -> argparse.ArgumentParser:
    """The command line that all converters share.

    Args:
        doc: the script's docstring.
        name: of the published file, the default of --out.
        tree: what `root` must hold.
        faithful: what --faithful repeats; None where nothing can be repeated.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help=f"folder of the download: {tree}")
    parser.add_argument("--out", type=Path, help=f"the npz to write (default: {name} in the folder)")
    if faithful:
        parser.add_argument("--faithful", action="store_true", help=f"repeat the published preprocessing: {faithful}")
    return parser


def finish(out: Path, converted: Converted, root: Path, remedy: str, more: dict[str, np.ndarray] | None = None) -> None:
    """Write the file and say what is in it.

    Args:
        out: the npz.
        converted: who goes in.
        root: the folder that photos are relative to.
        remedy: what to do where photos are missing.
        more: further fields, one row a person.

    Raises:
        ValueError: when nobody is left, or as `save`.
    """
    reasons = "; ".join(f"{count} x {reason}" for reason, count in converted.left_out.items() if count)
    if not converted.people:
        raise ValueError(f"{root}: nobody to convert{f' ({reasons})' if reasons else ''}; check the download")
    arrays = columns(converted.people) | (more or {})
    save(out, arrays, root, remedy)
    print(f"{out}: {len(converted.people)} people, {', '.join(arrays)}")
    if reasons:
        print(f"left out: {reasons}")


def run(main: Callable[[], None]) -> None:
    """Run a script; what it refuses is told without a traceback."""
    try:
        main()
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as refusal:
        raise SystemExit(f"refused: {refusal}") from refusal
