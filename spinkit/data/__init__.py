"""People to learn from: photographs or drawings with keypoints, and what is known of the bodies in them."""

from spinkit.data.coco import Refusal, Refused, read_coco, read_coco_keypoints
from spinkit.data.images import ImageStore, JoinedImages, PhotoCrops, SelectedImages, StoredImages, read_photo
from spinkit.data.photo import read_own_photo
from spinkit.data.recipe import RECIPES, Ingredient, Portion, Recipe, read_recipe
from spinkit.data.samples import Batch, Samples, Truth, check_samples, draw_keys, make_batch, mix
from spinkit.data.spin_npz import TEST_FILES, TRAIN_FILES, read_spin_npz, read_spin_words

__all__ = [
    "RECIPES",
    "TEST_FILES",
    "TRAIN_FILES",
    "Batch",
    "ImageStore",
    "Ingredient",
    "JoinedImages",
    "PhotoCrops",
    "Portion",
    "Recipe",
    "Refusal",
    "Refused",
    "Samples",
    "SelectedImages",
    "StoredImages",
    "Truth",
    "check_samples",
    "draw_keys",
    "make_batch",
    "mix",
    "read_coco",
    "read_coco_keypoints",
    "read_own_photo",
    "read_photo",
    "read_recipe",
    "read_spin_npz",
    "read_spin_words",
]
