"""The sets that a run trains on, as its user named them: read, with the fits that they come with, and mixed."""

from dataclasses import dataclass
from pathlib import Path

import torch

from spinkit import data, fit_files, smplify
from spinkit.body import Body
from spinkit.data import Ingredient, Recipe, Refused, Samples
from spinkit.fit_files import StoredFits

PEOPLE = "people"
"""In the place of a file: synthetic people."""


@dataclass(frozen=True)
class Part:
    """One set, read."""

    samples: Samples
    fits: StoredFits | None = None
    """Of a file; None where they are to be made."""
    refused: Refused | None = None


@dataclass(frozen=True)
class Plan:
    """Which sets to read."""

    sets: tuple[Ingredient, ...]
    folder: Path
    """What their paths are relative to."""
    recipe: Recipe | None
    """How often each is drawn; None where an epoch visits all samples once."""


def plan(source: str) -> Plan:
    """What `Sources.data` means: a recipe, or sets joined by plus signs."""
    path = Path(source).expanduser()
    if path.name.endswith("recipe.json"):
        recipe = data.read_recipe(path)
        return Plan(recipe.sets, path.parent, recipe)
    return Plan(tuple(Ingredient(name, name) for name in source.split("+")), Path(), None)


def read(ingredient: Ingredient, folder: Path, size: int, margin: float) -> Part:
    """A set of photos, and its fits where it names a file of them.

    Raises:
        FileNotFoundError, ValueError: as the readers of sets and of fits say.
    """
    path = folder / Path(ingredient.file).expanduser()
    photos = folder / Path(ingredient.photos).expanduser() if ingredient.photos else path.parent / "images"
    refused = None
    if path.suffix == ".npz":
        samples = data.read_spin_npz(path, photos, size, margin)
    else:
        samples, refused = data.read_coco(path, photos, size, margin=margin)
    return Part(samples, _fits(ingredient, folder, samples), refused)


def _fits(ingredient: Ingredient, folder: Path, samples: Samples) -> StoredFits | None:
    if not ingredient.fits:
        return None
    path = folder / Path(ingredient.fits).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"set '{ingredient.name}': no fits at {path}; correct the recipe, or leave fits empty to have them made"
        )
    if path.suffix != ".json":
        return fit_files.read_fits(path, len(samples))
    names = [photo.name for photo in samples.images.photos]
    return fit_files.read_eft(path).matched(names, samples.images.boxes)


def mixed(parts: list[Part], recipe: Recipe | None) -> tuple[Samples, Refused | None]:
    """All sets as one, and all that was refused of them."""
    sets = [part.samples for part in parts]
    told = [part.refused for part in parts if part.refused is not None]
    refused = Refused(tuple(entry for one in told for entry in one.entries)) if told else None
    if recipe is None:
        return (sets[0] if len(sets) == 1 else data.mix(sets)), refused
    return data.mix(sets, recipe.chances([len(one) for one in sets])), refused


def judged(fits: StoredFits, samples: Samples, body: Body) -> torch.Tensor:
    """Reprojection errors of stored fits, px^2; infinite where they are not valid."""
    chunk = smplify.SmplifySettings().chunk
    errors = [
        smplify.judge(body, samples.keypoints[at], fits.rotvec[at], fits.betas[at])[1]
        for at in torch.arange(len(samples)).split(chunk)
    ]
    return fits.judged(torch.cat(errors))
