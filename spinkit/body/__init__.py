"""The body layer: SMPL's stages, keypoints without a mesh, and a reader of SMPL-format files.

Differences from other SMPL wrappers: rotations come as matrices, `rotmat (*batch 24 3 3)`, with the whole body's
orientation first; there is no hidden state, so shapes and poses are always arguments; and `keypoints` needs no mesh.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spinkit import files, keypoints
from spinkit.body import finding, folding, reader
from spinkit.body.finding import default_path, find
from spinkit.body.keypoint_layer import KeypointLayer, PosedKeypoints
from spinkit.body.model import Body, Posed, Shaped
from spinkit.body.rotations import cross, left_jacobian, product, rotation_and_jacobian

__all__ = [
    "Body",
    "KeypointLayer",
    "Posed",
    "PosedKeypoints",
    "Shaped",
    "cross",
    "default_path",
    "find",
    "left_jacobian",
    "load",
    "product",
    "rotation_and_jacobian",
]

# The 11 vertices of SMPL's topology that keypoints 24..34 of the pool are: face, then feet.
POOL_VERTICES = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)
# The nine regressed points come after the 10 finger tips of the pool, which no keypoint uses.
FIRST_REGRESSED = 45

MODEL = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
"""The arrays that the layer computes with."""
REGRESSORS = {"J_regressor_extra": 9, "J_regressor_h36m": 17}
"""SPIN's regressors of posed vertices, with their rows."""
SMPL_VERTICES = 6890

# The six parts of LSP's segmentation, by the joint that a vertex follows most.
PART6_NAMES = ("head", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
PART6_OF_JOINT = (1, 4, 5, 1, 4, 5, 1, 4, 5, 1, 4, 5, 0, 1, 1, 0, 2, 3, 2, 3, 2, 3, 2, 3)


def load(path: str | Path | None = None, gender: str | None = None, regressors: str | Path | None = None) -> Body:
    """Load a body model: the default one, free of licence, or an SMPL-format file.

    Args:
        path: .npz or .pkl in SMPL's format, official or our own, or a folder that holds such files.
        gender: which of them, as `find` takes it; with no path, the file is looked for in SPINKIT_BODY and data/smpl.
            Neither path nor gender: the default body.
        regressors: the folder of SPIN's `J_regressor_extra.npy` and `J_regressor_h36m.npy`, for files that do not
            have them inside, as the official ones. None looks beside the model file, in the folder above, as SPIN
            keeps them, and in the project's data.

    Returns:
        The body in float32 on the CPU. Without `J_regressor_extra` it has no keypoints, and says so when asked.

    Raises:
        FileNotFoundError: no such file, or none of that gender.
        ValueError: the file is not what it claims to be; the message names the field.
    """
    path = _chosen(path, gender)
    arrays = reader.read_arrays(path)
    places = _places(path, len(arrays["v_template"]), regressors)
    extra, h36m = (_regressor(arrays, key, path, places) for key in REGRESSORS)
    model = {key: _tensor(arrays[key]) for key in MODEL}
    part6 = arrays.get("part6", np.array(PART6_OF_JOINT)[arrays["weights"].argmax(1)])
    names = tuple(str(n) for n in arrays["part6_names"]) if "part6_names" in arrays else PART6_NAMES
    return Body(
        v_template=model["v_template"],
        shapedirs=model["shapedirs"],
        posedirs=model["posedirs"],
        joint_regressor=model["J_regressor"],
        weights=model["weights"],
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        part6=torch.from_numpy(part6.astype(np.int64)),
        part6_names=names,
        vertex_mirror=torch.from_numpy(arrays["mirror"].astype(np.int64)) if "mirror" in arrays else None,
        h36m_regressor=None if h36m is None else _tensor(h36m),
        keypoint_layer=None if extra is None else _keypoint_layer(arrays, extra),
        name=path.name,
    )


def _tensor(array: np.ndarray) -> Float[Tensor, "..."]:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _chosen(path: str | Path | None, gender: str | None) -> Path:
    if path is not None or gender is not None:
        found = find(path, gender)
        if found is None:
            raise FileNotFoundError(
                f"No {gender} SMPL model: {finding.VARIABLE} is not set, and {finding.smpl_folder()} holds none. "
                + finding.WHERE_FROM
            )
        return found
    if not default_path().is_file():
        raise FileNotFoundError(f"No default body at {default_path()}. Bring it back: git checkout data/body.npz")
    return default_path()


def _places(path: Path, vertices: int, given: str | Path | None) -> tuple[Path, ...]:
    """The folders in which a model's regressors may lie."""
    if given is not None:
        folder = Path(given).expanduser()
        if not any((folder / f"{key}.npy").is_file() for key in REGRESSORS):
            raise FileNotFoundError(f"No {' or '.join(f'{key}.npy' for key in REGRESSORS)} in {folder}.")
        return (folder,)
    # Farther off than beside the model, the files are taken for what SPIN's are: regressors of SMPL's mesh.
    return (path.parent, path.parent.parent, finding.smpl_folder().parent)[: 3 if vertices == SMPL_VERTICES else 1]


def _regressor(arrays: dict[str, np.ndarray], key: str, path: Path, places: tuple[Path, ...]) -> np.ndarray | None:
    """A regressor from the model file itself, or from SPIN's file in the first place that has it."""
    source, regressor = path, arrays.get(key)
    if regressor is None:
        source = next((place / f"{key}.npy" for place in places if (place / f"{key}.npy").is_file()), None)
        if source is None:
            return None
        regressor = files.read_npy(source)
    expected = (REGRESSORS[key], len(arrays["v_template"]))
    if regressor.shape != expected:
        raise ValueError(
            f"{source}: '{key}' has shape {regressor.shape}, expected {expected}. It belongs to another model."
        )
    if not files.finite(regressor):
        raise ValueError(f"{source}: '{key}' holds NaN or infinity. Download the file again.")
    return regressor


def _keypoint_layer(arrays: dict[str, np.ndarray], extra: np.ndarray) -> KeypointLayer | None:
    """Fold in float64: the sums run over thousands of vertices."""
    vertices = len(arrays["v_template"])
    if vertices <= max(POOL_VERTICES):
        return None
    picked = np.zeros((len(POOL_VERTICES), vertices))
    picked[np.arange(len(POOL_VERTICES)), POOL_VERTICES] = 1
    regressor = torch.from_numpy(np.concatenate([picked, extra]).astype(np.float64))
    model = {key: torch.from_numpy(arrays[key].astype(np.float64)) for key in MODEL}
    points = tuple(p if p < FIRST_REGRESSED else p - FIRST_REGRESSED + 24 + len(POOL_VERTICES) for p in keypoints.POOL)
    return folding.build(model, regressor, points).to(torch.float32)
