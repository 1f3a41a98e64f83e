"""Recipes: their proportions, the samples that they draw, their files, and what is refused of them."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from spinkit import data, spin
from spinkit.data import RECIPES, Ingredient, Portion, Recipe
from spinkit.keypoints import Keypoints

SIZES = {"h36m": 312_188, "lsp-orig": 1000, "mpii": 14_810, "lspet": 9428, "coco": 28_344, "mpi-inf-3dhp": 96_507}


def chances_of(recipe: Recipe) -> dict[str, float]:
    names = [one.name for one in recipe.sets]
    return dict(zip(names, recipe.chances([SIZES[name] for name in names]), strict=True))


def samples(n, weight=None, side=8):
    """A set of which nothing is known but how many there are."""
    images = data.StoredImages(torch.zeros(n, 3, side, side, dtype=torch.uint8))
    points = Keypoints(torch.zeros(n, 49, 2), torch.ones(n, 49))
    return data.Samples("made", images, points, data.Truth.none(n), None, 1.25, weight)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_papers_recipe_draws_in_the_papers_proportions():
    found = chances_of(RECIPES["paper"])
    assert found["h36m"] == pytest.approx(0.3) and found["mpi-inf-3dhp"] == pytest.approx(0.1)
    shares = [found[name] for name in ("lsp-orig", "mpii", "lspet", "coco")]
    # The shares that the sizes of the four sets give: 1.1, 16.6, 10.6 and 31.7 per cent.
    assert shares == pytest.approx([0.011, 0.166, 0.106, 0.317], abs=6e-4)
    assert sum(found.values()) == pytest.approx(1)


def test_without_human36m_the_others_keep_their_proportions():
    found = chances_of(RECIPES["no-h36m"])
    assert "h36m" not in found and sum(found.values()) == pytest.approx(1)
    assert found["mpi-inf-3dhp"] == pytest.approx(1 / 7)
    assert found["coco"] / found["mpii"] == pytest.approx(SIZES["coco"] / SIZES["mpii"])


def test_a_set_left_out_gives_its_share_to_its_portion_first():
    found = chances_of(RECIPES["paper"].without("coco", "lspet"))
    assert found["h36m"] == pytest.approx(0.3) and found["lsp-orig"] + found["mpii"] == pytest.approx(0.6)
    assert found["mpii"] / found["lsp-orig"] == pytest.approx(14.81)


@pytest.mark.parametrize("name", SIZES)
def test_any_set_of_the_paper_may_be_left_out_or_be_the_only_one(name):
    recipe = RECIPES["paper"]
    assert name not in [one.name for one in recipe.without(name).sets]
    alone = recipe.without(*(other for other in SIZES if other != name))
    assert chances_of(alone) == {name: 1}


def test_the_sets_of_the_paper_lie_where_spins_download_puts_them():
    sets = {one.name: one for one in RECIPES["paper"].sets}
    assert sets["coco"].file == "dataset_extras/coco_2014_train.npz"
    assert sets["mpi-inf-3dhp"].fits == "static_fits/mpi-inf-3dhp_fits.npy"
    assert sets["h36m"].fits == "", "its fits were never released, so they are made"


def test_samples_are_drawn_by_their_weights_and_those_of_weight_zero_never():
    weight = torch.tensor([0.0, 3.0, 0.0, 1.0, 0.0])
    counts = data.draw_keys(weight, 40_000, generator()).bincount(minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert counts[1] / 40_000 == pytest.approx(0.75, abs=0.01)


def test_the_same_generator_draws_the_same_and_the_weights_stay_as_they_are():
    weight = torch.rand(50, generator=generator(1))
    before = weight.clone()
    one, two, other = (data.draw_keys(weight, 64, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(weight, before)


def test_a_mixture_by_a_recipe_draws_each_set_by_its_chance_and_evenly_within():
    both = data.mix([samples(300), samples(100)], chances=[0.2, 0.8])
    keys = data.draw_keys(both.weight, 40_000, generator())
    assert (keys < 300).float().mean().item() == pytest.approx(0.2, abs=0.01)
    counts = keys[keys >= 300].bincount()[300:]
    assert len(counts) == 100 and counts.min() > 230 and counts.max() < 420
    assert data.check_samples(both).tolist() == []


def test_a_subset_keeps_its_weights():
    some = samples(4, torch.tensor([1.0, 2.0, 3.0, 4.0])).subset(torch.tensor([3, 0]))
    assert some.weight.tolist() == [4, 1]
    assert samples(4).subset(torch.tensor([3, 0])).weight is None


def test_weights_that_nothing_can_be_drawn_by_are_refused():
    for weight, complaint in (
        (torch.zeros(3), "zero for all"),
        (torch.tensor([1.0, -1.0, 1.0]), "weight is negative"),
        (torch.tensor([1.0, torch.nan, 1.0]), "weight is not finite in sample 1"),
    ):
        with pytest.raises(ValueError, match=complaint):
            data.check_samples(samples(3, weight))
    with pytest.raises(ValueError, match="has weights already"):
        data.mix([samples(2), samples(3, torch.ones(3))])
    with pytest.raises(ValueError, match="different lengths"):
        samples(3, torch.ones(2))


def test_the_keys_of_a_weighted_step_depend_on_seed_and_number_alone():
    settings = spin.SpinSettings(batch_size=16, seed=5)
    weight = torch.rand(100, generator=generator(2))
    once = [spin.batch_keys(100, settings, number, weight) for number in range(4)]
    again = [spin.batch_keys(100, settings, number, weight) for number in (3, 2, 1, 0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], once[1])
    assert not torch.equal(once[0], spin.batch_keys(100, replace(settings, seed=6), 0, weight))


def test_which_sample_is_drawn_says_nothing_about_how_it_is_varied():
    """Keys and augmentation come of one seed and one number, but must not be the same random numbers."""
    settings, weight = spin.SpinSettings(batch_size=64, seed=0), torch.ones(1000)
    keys, mirrors = [], []
    for number in range(60):
        keys.append(spin.batch_keys(1000, settings, number, weight).float())
        mirrors.append(torch.rand(64, 5, generator=spin.step_generator(0, number))[:, 0])
    both = torch.stack([torch.cat(keys), torch.cat(mirrors)])
    assert torch.corrcoef(both)[0, 1].abs() < 0.05


def test_without_weights_every_epoch_still_visits_all():
    settings = spin.SpinSettings(batch_size=5)
    keys = torch.cat([spin.batch_keys(10, settings, number, samples(10).weight) for number in range(2)])
    assert sorted(keys.tolist()) == list(range(10))


def written(tmp_path, content):
    path = tmp_path / "recipe.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_written_as_json_is_read_back(tmp_path, name):
    assert data.read_recipe(written(tmp_path, asdict(RECIPES[name]))) == RECIPES[name]
    assert data.read_recipe(written(tmp_path, {"recipe": name})) == RECIPES[name]


def test_a_recipe_by_name_may_leave_sets_out_and_look_for_files_elsewhere(tmp_path):
    content = {
        "recipe": "paper",
        "leave_out": ["h36m", "lspet"],
        "sets": {"coco": {"photos": "../coco", "fits": "EFT.json"}, "mpii": {"file": "mpii.npz"}},
    }
    recipe = data.read_recipe(written(tmp_path, content))
    sets = {one.name: one for one in recipe.sets}
    assert set(sets) == {"lsp-orig", "mpii", "coco", "mpi-inf-3dhp"}
    assert sets["coco"] == Ingredient("coco", "dataset_extras/coco_2014_train.npz", "../coco", "EFT.json")
    assert sets["mpii"].file == "mpii.npz" and sets["mpii"].fits == "static_fits/mpii_fits.npy"


def test_a_recipe_of_ones_own_is_read(tmp_path):
    mine = {"name": "mine", "file": "mine.npz", "photos": "photos", "fits": "mine_fits.npy"}
    content = {"portions": [{"share": 2, "sets": [mine]}, {"share": 1, "sets": [{"name": "drawn", "file": "people"}]}]}
    recipe = data.read_recipe(written(tmp_path, content))
    assert recipe == Recipe((Portion(2.0, (Ingredient(**mine),)), Portion(1.0, (Ingredient("drawn", "people"),))))
    assert recipe.chances([10, 1000]) == pytest.approx([2 / 3, 1 / 3])


MINE = {"name": "mine", "file": "mine.npz"}


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ([], "recipe is no object with portions"),
        ({}, "recipe has no entry 'portions'"),
        ({"portions": []}, "a recipe holds no sets"),
        ({"recipe": "papre"}, "recipe 'papre' is unknown; choose one of paper, no-h36m"),
        (
            {"recipe": "paper", "leaveout": []},
            "'leaveout', which is unknown; it may have recipe, leave_out, sets",
        ),
        ({"recipe": "paper", "leave_out": "h36m"}, "'leave_out' is 'h36m', which is no list"),
        ({"recipe": "paper", "leave_out": ["h37m"]}, "set 'h37m' is not in the recipe, which has h36m, lsp-orig"),
        ({"recipe": "paper", "leave_out": list(SIZES)}, "a recipe holds no sets; leave fewer of them out"),
        ({"recipe": "paper", "sets": {"coco": {"photo": "x"}}}, "set 'coco' has an entry 'photo', which is unknown"),
        ({"recipe": "no-h36m", "sets": {"h36m": {"file": "x"}}}, "set 'h36m' is not in the recipe"),
        ({"portions": [{"share": 0, "sets": [MINE]}]}, "share must be positive and finite, got 0"),
        ('{"portions": [{"share": NaN, "sets": [{"name": "a", "file": "b"}]}]}', "share must be positive and finite"),
        ({"portions": [{"share": True, "sets": [MINE]}]}, "'share' is True, which is no number"),
        ({"portions": [{"share": "1", "sets": [MINE]}]}, "'share' is '1', which is no number"),
        ({"portions": [{"share": 1}]}, r"portions\[0\] has no entry 'sets'"),
        ({"portions": [{"share": 1, "sets": []}]}, "a portion holds no sets"),
        ({"portions": [{"share": 1, "sets": ["coco"]}]}, r"portions\[0\].sets is no object with name, file"),
        ({"portions": [{"share": 1, "sets": [{"name": "mine"}]}]}, r"portions\[0\].sets has no entry 'file'"),
        ({"portions": [{"share": 1, "sets": [MINE, MINE]}]}, "set 'mine' is in the recipe twice"),
        ({"portions": [{"share": 1, "sets": [MINE | {"file": ""}]}]}, "needs a name and a file"),
        ({"portions": [{"share": 1, "sets": [MINE | {"file": "people", "fits": "f.npy"}]}]}, "leave photos and fits"),
    ],
)
def test_what_is_no_recipe_is_refused_by_file_and_entry(tmp_path, content, complaint):
    with pytest.raises(ValueError, match=rf"recipe\.json.*{complaint}"):
        data.read_recipe(written(tmp_path, content))


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recipe at .*none\.json"):
        data.read_recipe(tmp_path / "none.json")
