"""Read an SMPL-format file without chumpy and without running what a pickle names."""

from pathlib import Path

import numpy as np

from spinkit import files

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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an SMPL-format .npz or .pkl file, checked for presence, dimensions and agreement.

    Args:
        path: `SMPL_NEUTRAL.pkl`, `basicModel_neutral_lbs_10_207_0_v1.0.0.pkl`, our `body.npz`, or the like.

    Returns:
        Every array of `REQUIRED`, and those of `OPTIONAL` that the file has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field is missing, has the wrong shape, holds NaN, or is not an array.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No SMPL model at {path}. Its licence does not let us fetch it for you: register at "
            "https://smpl.is.tue.mpg.de, and put the file there. To go on without a licence, use the "
            "default body: body.load()."
        )
    raw = files.read(path)
    missing = sorted(set(REQUIRED) - set(raw))
    if missing:
        raise ValueError(f"{path}: no field {', '.join(missing)}. An SMPL file has {', '.join(REQUIRED)}.")
    arrays = {key: files.as_array(raw[key], path, key) for key in (*REQUIRED, *OPTIONAL) if key in raw}
    _check(arrays, path)
    return arrays


def _check(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse fields whose dimensions do not fit each other."""
    for key, dimensions in REQUIRED.items():
        if arrays[key].ndim != dimensions:
            raise ValueError(f"{path}: field '{key}' has shape {arrays[key].shape}, expected {dimensions} dimensions.")
    vertices = arrays["v_template"].shape[0]
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, arrays["shapedirs"].shape[2]),
        "posedirs": (vertices, 3, 207),
        "J_regressor": (24, vertices),
        "weights": (vertices, 24),
        "f": (arrays["f"].shape[0], 3),
        "kintree_table": (2, 24),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise ValueError(
                f"{path}: field '{key}' has shape {arrays[key].shape}, expected {shape} (SMPL, 24 joints)."
            )
        if not (np.abs(arrays[key]) <= np.finfo(np.float32).max).all():
            raise ValueError(f"{path}: field '{key}' holds NaN or infinity. Download the file again.")
    if arrays["shapedirs"].shape[2] < 10:
        raise ValueError(f"{path}: field 'shapedirs' has {arrays['shapedirs'].shape[2]} shapes, 10 are needed.")
    if arrays["f"].min() < 0 or arrays["f"].max() >= vertices:
        raise ValueError(f"{path}: field 'f' names vertices outside 0..{vertices - 1}.")
