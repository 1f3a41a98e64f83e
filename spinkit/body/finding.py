"""Which body file is meant: by its path, in a folder by gender, from the environment, or in data/smpl."""

import os
import re
from pathlib import Path

VARIABLE = "SPINKIT_BODY"
"""The environment variable that names an SMPL file, or a folder of them."""

GENDERS = {"neutral": "neutral", "male": "male", "m": "male", "female": "female", "f": "female"}
"""How files and datasets write a gender, and its name."""

SUBFOLDERS = ("", "smpl", "models", "smpl/models")
"""Where a folder may hold models: as SPIN, as smplx, and as SMPL's own archives lay them out."""

WHERE_FROM = (
    "SMPL's licence does not let us fetch it for you: register at https://smpl.is.tue.mpg.de (SPIN's neutral body is "
    "at https://smplify.is.tue.mpg.de), and put the files into data/smpl (data/README.md). To go on without a licence, "
    "use the default body: body.load()."
)


def default_path() -> Path:
    """Where the body that ships with the project lies."""
    return Path(__file__).resolve().parents[2] / "data" / "body.npz"


def smpl_folder() -> Path:
    """Where the project looks for licensed models by itself."""
    return default_path().parent / "smpl"


def gender_of(path: Path) -> str | None:
    """The gender that a file's name tells: `SMPL_MALE.pkl` and `basicmodel_m_lbs_10_207_0_v1.1.0.pkl` are male."""
    told = {GENDERS[word] for word in _words(path) if word in GENDERS}
    return told.pop() if len(told) == 1 else None


def find(place: str | Path | None = None, gender: str | None = None) -> Path | None:
    """The SMPL file that is meant: the argument, else what SPINKIT_BODY names, else one in data/smpl.

    Args:
        place: a file, or a folder that holds some under any of their original names.
        gender: "neutral", "male" or "female", also "m" and "f" as datasets write it. None takes the neutral one
            of a folder, and a file whatever its gender.

    Returns:
        An existing file; None where nothing is named and data/smpl holds no model.

    Raises:
        FileNotFoundError: what is named is not there, or holds other genders only: those are never taken instead.
        ValueError: the file's name tells another gender than the one asked for, or there is no such gender.
    """
    if gender is not None and gender not in GENDERS:
        raise ValueError(f"gender must be neutral, male or female, got {gender!r}")
    gender = GENDERS.get(gender)
    if place is None and os.environ.get(VARIABLE):
        return _at(Path(os.environ[VARIABLE]).expanduser(), gender, f"{VARIABLE} says so; ")
    if place is not None:
        return _at(Path(place).expanduser(), gender, "")
    return _at(smpl_folder(), gender, "") if models_in(smpl_folder()) else None


def models_in(folder: Path) -> list[Path]:
    """The SMPL files in a folder, best first: `SMPL_*` before `basicModel_*`, .npz before .pkl."""
    found = []
    for subfolder in SUBFOLDERS:
        if (folder / subfolder).is_dir():
            found += sorted((p for p in (folder / subfolder).iterdir() if _is_model(p)), key=_rank)
    return found


def _words(path: Path) -> list[str]:
    return re.findall("[a-z]+", path.stem.lower())


def _is_model(path: Path) -> bool:
    named = {"smpl", "basicmodel"} & set(_words(path)) and gender_of(path)
    return bool(named) and path.suffix.lower() in (".npz", ".pkl") and path.is_file()


def _rank(path: Path) -> tuple[bool, bool, str]:
    return _words(path)[0] != "smpl", path.suffix.lower() != ".npz", path.name.lower()


def _at(place: Path, gender: str | None, why: str) -> Path:
    if place.is_file():
        return _of_gender(place, gender, why)
    if not place.is_dir():
        raise FileNotFoundError(f"No SMPL model at {place}. {why}{WHERE_FROM}")
    models, wanted = models_in(place), gender or "neutral"
    for path in models:
        if gender_of(path) == wanted:
            return path
    if models:
        held = ", ".join(f"{path.name} ({gender_of(path)})" for path in models)
        raise FileNotFoundError(
            f"No {wanted} SMPL model in {place}, only {held}. {why}no other gender is taken instead: put "
            f"SMPL_{wanted.upper()}.pkl there, or ask for a gender that is there. {WHERE_FROM}"
        )
    raise FileNotFoundError(
        f"No SMPL model in {place}. {why}names such as SMPL_{wanted.upper()}.pkl or "
        f"basicmodel_m_lbs_10_207_0_v1.1.0.pkl are looked for. {WHERE_FROM}"
    )


def _of_gender(path: Path, gender: str | None, why: str) -> Path:
    told = gender_of(path)
    if gender is not None and told != gender:
        raise ValueError(
            f"{path}: a {gender} body is asked for, and the file's name tells {told or 'no gender'}. {why}give the "
            f"{gender} file or its folder; where the name is wrong, rename it to SMPL_{gender.upper()}{path.suffix}."
        )
    return path
