"""Recipes: which sets a network learns from, how often each is drawn, and with which fits they begin."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from os import PathLike
from pathlib import Path

from spinkit import files
from spinkit.data.spin_npz import TRAIN_FILES

JSON_NAMES = {str: "text", list: "list", dict: "object", Real: "number"}
"""What JSON calls the types of its values."""


@dataclass(frozen=True)
class Ingredient:
    """One set of people."""

    name: str
    file: str
    """An npz file in SPIN's format, a COCO json file, or `people` for synthetic ones."""
    photos: str = ""
    """The folder that image names are relative to; empty for `images` beside the file."""
    fits: str = ""
    """A file of fits to begin with: .npy or .npz of SPIN's, or EFT's .json. Empty to make them by SMPLify."""

    def __post_init__(self):
        if not self.name or not self.file:
            raise ValueError(f"a recipe's set needs a name and a file, got name '{self.name}' and file '{self.file}'")
        if self.file == "people" and (self.photos or self.fits):
            raise ValueError(f"set '{self.name}': people are drawn and fitted here; leave photos and fits empty")


@dataclass(frozen=True)
class Portion:
    """Sets that are drawn as if they were one: the larger, the oftener."""

    share: float
    """Of all samples drawn, against the other portions."""
    sets: tuple[Ingredient, ...]

    def __post_init__(self):
        if not 0 < self.share < float("inf"):
            raise ValueError(f"a portion's share must be positive and finite, got {self.share}")
        if not self.sets:
            raise ValueError("a portion holds no sets; leave the portion out")


@dataclass(frozen=True)
class Recipe:
    """What to train on, in which proportions."""

    portions: tuple[Portion, ...]

    def __post_init__(self):
        names = [ingredient.name for ingredient in self.sets]
        if not names:
            raise ValueError("a recipe holds no sets; leave fewer of them out")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"set '{twice[0]}' is in the recipe twice; give each set a name of its own")

    @property
    def sets(self) -> tuple[Ingredient, ...]:
        """All sets, in order."""
        return tuple(ingredient for portion in self.portions for ingredient in portion.sets)

    def without(self, *names: str) -> "Recipe":
        """The recipe with some sets left out; their share goes to the rest of their portion, or else to all others.

        Raises:
            ValueError: for a set that is not in the recipe, or where none would be left.
        """
        self._known(names)
        kept = [(p.share, tuple(s for s in p.sets if s.name not in names)) for p in self.portions]
        return Recipe(tuple(Portion(share, sets) for share, sets in kept if sets))

    def changed(self, name: str, **places: str) -> "Recipe":
        """The recipe with another file, folder of photos or file of fits for one set.

        Raises:
            ValueError: for a set that is not in the recipe.
        """
        self._known([name])
        portions = [
            replace(p, sets=tuple(replace(s, **places) if s.name == name else s for s in p.sets)) for p in self.portions
        ]
        return Recipe(tuple(portions))

    def chances(self, sizes: Sequence[int]) -> list[float]:
        """How likely a sample is drawn from each set; they add up to one.

        Args:
            sizes: samples in each of `sets`.
        """
        left, whole, found = iter(sizes), sum(portion.share for portion in self.portions), []
        for portion in self.portions:
            counts = [next(left) for _ in portion.sets]
            found += [portion.share / whole * count / sum(counts) for count in counts]
        return found

    def _known(self, names: Sequence[str]) -> None:
        have = [ingredient.name for ingredient in self.sets]
        unknown = [name for name in names if name not in have]
        if unknown:
            raise ValueError(f"set '{unknown[0]}' is not in the recipe, which has {', '.join(have)}")


def _published(name: str, fits: str | None = None) -> Ingredient:
    """A set of SPIN's, where its download puts the files."""
    fits = f"static_fits/{name}_fits.npy" if fits is None else fits
    return Ingredient(name, f"dataset_extras/{TRAIN_FILES[name]}", f"photos/{name}", fits)


PAPER = Recipe(
    (
        # Fits of Human3.6M were never released.
        Portion(0.3, (_published("h36m", fits=""),)),
        Portion(0.6, tuple(_published(name) for name in ("lsp-orig", "mpii", "lspet", "coco"))),
        Portion(0.1, (_published("mpi-inf-3dhp"),)),
    )
)
"""SPIN's mixture. Source: SPIN, datasets/mixed_dataset.py."""
RECIPES = {"paper": PAPER, "no-h36m": PAPER.without("h36m")}


def read_recipe(path: str | PathLike[str]) -> Recipe:
    """A recipe from a JSON file. Its paths are relative to the file's folder, and are not looked at here.

    Either a recipe by name, some of its sets left out and others changed:

        {"recipe": "paper", "leave_out": ["h36m"], "sets": {"coco": {"photos": "../coco/images"}}}

    or one of your own:

        {"portions": [{"share": 2, "sets": [{"name": "mine", "file": "mine.npz", "photos": "photos"}]},
                      {"share": 1, "sets": [{"name": "drawn", "file": "people"}]}]}

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no JSON of this form; the message names the entry.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no recipe at {path}; write one (README) or correct the path")
    content = files.read_json(path, "write it again")
    try:
        if isinstance(content, dict) and "recipe" in content:
            return _from_named(**_entries(content, "recipe", {"recipe": str, "leave_out": list, "sets": dict}))
        return _from_portions(**_entries(content, "recipe", {"portions": list}, needed=("portions",)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _from_named(recipe: str, leave_out: Sequence[str] = (), sets: dict | None = None) -> Recipe:
    if recipe not in RECIPES:
        raise ValueError(f"recipe '{recipe}' is unknown; choose one of {', '.join(RECIPES)}, or write portions")
    found = RECIPES[recipe].without(*leave_out)
    for name, places in (sets or {}).items():
        found = found.changed(name, **_entries(places, f"set '{name}'", dict.fromkeys(("file", "photos", "fits"), str)))
    return found


def _from_portions(portions: Sequence) -> Recipe:
    kinds = {field.name: str for field in fields(Ingredient)}
    made = []
    for i, portion in enumerate(portions):
        entries = _entries(portion, f"portions[{i}]", {"share": Real, "sets": list}, needed=("share", "sets"))
        where = f"portions[{i}].sets"
        sets = [_entries(entry, where, kinds, needed=("name", "file")) for entry in entries["sets"]]
        made.append(Portion(float(entries["share"]), tuple(Ingredient(**entry) for entry in sets)))
    return Recipe(tuple(made))


def _entries(content: object, where: str, kinds: dict[str, type], needed: Sequence[str] = ()) -> dict:
    """An object of JSON whose entries are all known and of their kind."""
    known = ", ".join(kinds)
    if not isinstance(content, dict):
        raise ValueError(f"{where} is no object with {known}")
    for name, value in content.items():
        if name not in kinds:
            raise ValueError(f"{where} has an entry '{name}', which is unknown; it may have {known}")
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise ValueError(f"{where}: '{name}' is {value!r}, which is no {JSON_NAMES[kinds[name]]}")
    missing = [name for name in needed if name not in content]
    if missing:
        raise ValueError(f"{where} has no entry '{missing[0]}'")
    return content
