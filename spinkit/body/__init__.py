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
from spinkit.body import keypoint_layer, reader
from spinkit.body.keypoint_layer import KeypointLayer, PosedKeypoints, hat, left_jacobian
from spinkit.body.model import Body, Posed, Shaped

__all__ = [
    "Body",
    "KeypointLayer",
    "Posed",
    "PosedKeypoints",
    "Shaped",
    "default_path",
    "hat",
    "left_jacobian",
    "load",
]

# The 11 vertices of SMPL's topology that keypoints 24..34 of the pool are: face, then feet.
POOL_VERTICES = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)
# The nine regressed points come after the 10 finger tips of the pool, which no keypoint uses.
FIRST_REGRESSED = 45

# The six parts of LSP's segmentation, by the joint that a vertex follows most.
PART6_NAMES = ("head", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
PART6_OF_JOINT = (1, 4, 5, 1, 4, 5, 1, 4, 5, 1, 4, 5, 0, 1, 1, 0, 2, 3, 2, 3, 2, 3, 2, 3)


def default_path() -> Path:
    """Where the body that ships with the project lies."""
    return Path(__file__).resolve().parents[2] / "data" / "body.npz"


def load(path: str | Path | None = None) -> Body:
    """Load a body model: the default one, free of licence, or an SMPL-format file.

    Args:
        path: .npz or .pkl in SMPL's format, official or our own; None for the default body. SPIN's regressors
            `J_regressor_extra.npy` and `J_regressor_h36m.npy` are used where they are beside the file.

    Returns:
        The body in float32 on the CPU. Without `J_regressor_extra` it has no keypoints, and says so when asked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not what it claims to be; the message names the field.
    """
    path = default_path() if path is None else Path(path)
    arrays = reader.read_arrays(path)
    extra = _beside(path, arrays, "J_regressor_extra", 9)
    h36m = _beside(path, arrays, "J_regressor_h36m", 17)
    model = {key: _tensor(arrays[key]) for key in ("v_template", "posedirs", "J_regressor", "weights")}
    # Later releases of SMPL carry up to 300 shapes; the first ten are the same.
    model["shapedirs"] = _tensor(arrays["shapedirs"][..., :10])
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


def _beside(path: Path, arrays: dict[str, np.ndarray], key: str, rows: int) -> np.ndarray | None:
    """A regressor from the model file itself, or from SPIN's file beside it."""
    source, regressor = path, arrays.get(key)
    if regressor is None:
        source = path.parent / f"{key}.npy"
        if not source.is_file():
            return None
        regressor = files.read_npy(source)
    if regressor.shape != (rows, len(arrays["v_template"])):
        raise ValueError(
            f"{source}: '{key}' has shape {regressor.shape}, expected {(rows, len(arrays['v_template']))}. "
            "It belongs to another model."
        )
    if not np.isfinite(regressor).all():
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
    names = ("v_template", "posedirs", "J_regressor", "weights")
    model = {key: torch.from_numpy(arrays[key].astype(np.float64)) for key in names}
    model["shapedirs"] = torch.from_numpy(arrays["shapedirs"][..., :10].astype(np.float64))
    points = tuple(p if p < FIRST_REGRESSED else p - FIRST_REGRESSED + 24 + len(POOL_VERTICES) for p in keypoints.POOL)
    return keypoint_layer.build(model, regressor, points).to(torch.float32)
