"""Read an SMPL-format file without chumpy and without running what a pickle names."""

from pathlib import Path

import numpy as np

from spinkit import files
from spinkit.keypoints import JOINT_PARENTS

REQUIRED = {
    "v_template": 2,
    "shapedirs": 3,
    "posedirs": 3,
    "J_regressor": 2,
    "weights": 2,
    "f": 2,
    "kintree_table": 2,
}
"""Arrays that every SMPL file holds, with their number of dimensions."""

OPTIONAL = (
    "J_regressor_extra",
    "J_regressor_h36m",
    "part6",
    "part6_names",
    "mirror",
    "vertex_ids",
    "vertex_id_names",
)
"""Arrays that our own default body adds."""

LARGEST = 1e10
"""Products of two such numbers are still finite in float32. None in a body is larger: no parent is written 2^32 - 1."""
OTHER_MODELS = {52: "SMPL-H", 55: "SMPL-X", 16: "MANO", 5: "FLAME"}
REMEDY = "Give an SMPL file, such as SMPL_NEUTRAL.pkl; SMPL-H, SMPL-X, MANO and FLAME are not read."


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an SMPL-format .npz or .pkl file, checked for presence, dimensions and agreement.

    Args:
        path: `SMPL_NEUTRAL.pkl`, `basicModel_neutral_lbs_10_207_0_v1.0.0.pkl`, our `body.npz`, or the like.

    Returns:
        Every array of `REQUIRED`, and those of `OPTIONAL` that the file has. Of the 300 shapes of release 1.1, the
        first ten, which are those of release 1.0.

    Raises:
        ValueError: a field is missing, has the wrong shape, holds NaN, or is not an array.
    """
    raw = files.read(path)
    missing = sorted(set(REQUIRED) - set(raw))
    if missing:
        raise ValueError(f"{path}: no field {', '.join(missing)}. An SMPL file has {', '.join(REQUIRED)}.")
    arrays = {key: files.as_array(raw[key], path, key) for key in (*REQUIRED, *OPTIONAL) if key in raw}
    _check_shapes(arrays, path)
    _check_values(arrays, path)
    _check_optional(arrays, path)
    return arrays | {"shapedirs": arrays["shapedirs"][..., :10]}


def _check_shapes(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse fields whose dimensions do not fit each other."""
    for key, dimensions in REQUIRED.items():
        if arrays[key].ndim != dimensions:
            raise ValueError(
                f"{path}: field '{key}' has shape {arrays[key].shape}, expected {dimensions} dimensions. {REMEDY}"
            )
    joints = arrays["weights"].shape[1]
    if joints != len(JOINT_PARENTS):
        of = f", as {OTHER_MODELS[joints]} has" if joints in OTHER_MODELS else ""
        raise ValueError(f"{path}: field 'weights' has {joints} joints{of}; SMPL has {len(JOINT_PARENTS)}. {REMEDY}")
    vertices, shapes, faces = len(arrays["v_template"]), arrays["shapedirs"].shape[2], len(arrays["f"])
    if shapes < 10:
        raise ValueError(f"{path}: field 'shapedirs' has {shapes} shapes, 10 are needed. {REMEDY}")
    expected = {
        "v_template": (max(vertices, 1), 3),
        "shapedirs": (vertices, 3, shapes),
        "posedirs": (vertices, 3, 207),
        "J_regressor": (24, vertices),
        "weights": (vertices, 24),
        "f": (max(faces, 1), 3),
        "kintree_table": (2, 24),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{path}: field '{key}' has shape {arrays[key].shape}, expected {shape}. {REMEDY}")


def _check_values(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse what no SMPL file holds in fields of the right shape."""
    for key in REQUIRED:
        if arrays[key].dtype.kind not in "iuf":
            raise ValueError(f"{path}: field '{key}' holds {arrays[key].dtype}, expected numbers. {REMEDY}")
        if not (np.abs(arrays[key]) <= LARGEST).all():
            raise ValueError(f"{path}: field '{key}' holds NaN or infinity, or numbers as large. Download it again.")
    vertices = len(arrays["v_template"])
    if arrays["f"].min() < 0 or arrays["f"].max() >= vertices:
        raise ValueError(f"{path}: field 'f' names vertices outside 0..{vertices - 1}. Download the file again.")
    # The pelvis has no parent; files write -1 or 2^32 - 1.
    if tuple(arrays["kintree_table"][0, 1:]) != JOINT_PARENTS[1:]:
        raise ValueError(f"{path}: field 'kintree_table' orders the joints in another way than SMPL. {REMEDY}")


def _check_optional(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse parts, mirrors and regressors that do not belong to the vertices."""
    vertices = len(arrays["v_template"])
    names = arrays.get("part6_names", np.array(6 * [""]))
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ValueError(f"{path}: field 'part6_names' holds {names.dtype} {names.shape}, expected a list of words.")
    for key, most in (("part6", len(names)), ("mirror", vertices)):
        labels = arrays.get(key, np.zeros(vertices, dtype=np.int64))
        if labels.shape != (vertices,) or labels.dtype.kind not in "iu":
            found = f"{labels.dtype} {labels.shape}"
            raise ValueError(f"{path}: field '{key}' holds {found}, expected a whole number for each vertex.")
        if labels.min() < 0 or labels.max() >= most:
            raise ValueError(f"{path}: field '{key}' reaches beyond 0..{most - 1}. Download the file again.")
    for key in ("J_regressor_extra", "J_regressor_h36m"):
        if key in arrays and not files.finite(arrays[key]):
            raise ValueError(f"{path}: field '{key}' holds something that is no finite number. Download it again.")
