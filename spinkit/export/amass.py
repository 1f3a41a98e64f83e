"""Motions in AMASS's layout, which Blender's add-ons and most motion research read."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spinkit import files
from spinkit.export.motion import SMPL_SHAPES, Motion, check_family

BODY = 66
"""Numbers of the pelvis and the 21 joints that SMPL, SMPL-H and SMPL-X share, in the same order."""
WIDTHS = {"smpl": 72, "smplh": 156, "smplx": 165}
"""Numbers a frame in `poses`, by family of body model."""
RATES = ("mocap_framerate", "mocap_frame_rate")
"""AMASS spells it the first way in its SMPL-H files and the second in its SMPL-X files."""


def save_amass(path: str | PathLike, motion: Motion, layout: str = "smpl") -> Path:
    """Write a motion as AMASS does, the frame rate in both spellings.

    Nothing is turned here, and AMASS's tools take z for up: give them `in_frame(motion, body, "world_zup")`.

    Args:
        path: ends in .npz.
        motion: in any frame; the file's field `frame` says which.
        layout: "smpl" for 72 numbers a frame; "smplh" for add-ons that insist on AMASS's 156 and 16 betas. There
            the hands lie flat: SMPL's one joint a hand is none of SMPL-H's fifteen, so its turn is left out.

    Raises:
        ValueError: for another ending or layout, or a motion of another family of body models.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path.name}: AMASS's files end in .npz")
    if layout not in SMPL_SHAPES:
        raise ValueError(f"layout must be one of {', '.join(SMPL_SHAPES)}, got {layout!r}")
    check_family(motion)
    poses, betas = _numpy(motion.rotvec.flatten(1)), _numpy(motion.betas)
    if layout == "smplh":
        poses = np.pad(poses[:, :BODY], ((0, 0), (0, WIDTHS[layout] - BODY)))
        betas = np.pad(betas, (0, 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    rates = {name: np.float64(motion.frame_rate) for name in RATES}
    np.savez(
        path,
        poses=poses,
        trans=_numpy(motion.transl),
        betas=betas,
        gender=np.str_(motion.gender),
        surface_model_type=np.str_(layout),
        frame=np.str_(motion.frame),
        **rates,
    )
    return path


def load_amass(path: str | PathLike) -> Motion:
    """Read a motion in AMASS's layout: 72 (SMPL), 156 (SMPL-H) or 165 (SMPL-X) numbers a frame.

    Numbers become float32, as the bodies here are; AMASS stores float64. Fingers and faces are left out, and so is
    every beta after the tenth. A file that does not name its frame is AMASS's own, in which z points up.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged, a field is missing, or one holds what it cannot mean.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No motion at {path}; `save_amass` writes one, and AMASS offers its own.")
    arrays = files.read_npz(path)
    poses = _numbers(arrays, "poses", path)
    if poses.ndim != 2 or poses.shape[1] not in WIDTHS.values():
        widths = ", ".join(f"{width} ({name})" for name, width in WIDTHS.items())
        raise ValueError(f"{path}: field 'poses' has shape {poses.shape}, expected (T, n) with n one of {widths}")
    family = next(name for name, width in WIDTHS.items() if width == poses.shape[1])
    try:
        return Motion(
            rotvec=_rotvec(poses),
            transl=_shaped(arrays, "trans", (len(poses), 3), path),
            betas=_betas(arrays, path),
            frame_rate=_frame_rate(arrays, path),
            frame=_word(arrays, "frame", "world_zup"),
            gender=_word(arrays, "gender", "neutral"),
            surface_model_type=_word(arrays, "surface_model_type", family),
        )
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _numbers(arrays: dict[str, np.ndarray], field: str, path: Path) -> np.ndarray:
    if field not in arrays:
        raise ValueError(f"{path}: no field {field!r}; a motion has poses, trans, betas and {' or '.join(RATES)}")
    if arrays[field].dtype.kind not in "fiu":
        raise ValueError(f"{path}: field {field!r} holds {arrays[field].dtype}, expected numbers; write it again")
    return arrays[field]


def _shaped(arrays: dict[str, np.ndarray], field: str, shape: tuple[int, ...], path: Path) -> Tensor:
    array = _numbers(arrays, field, path)
    if array.shape != shape:
        raise ValueError(f"{path}: field {field!r} has shape {array.shape}, expected {shape}; write it again")
    return _float(array)


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _rotvec(poses: np.ndarray) -> Tensor:
    """SMPL's 24 joints; its two hands are known to SMPL's own layout only."""
    known = poses if poses.shape[1] == 72 else np.pad(poses[:, :BODY], ((0, 0), (0, 72 - BODY)))
    return _float(known).reshape(-1, 24, 3)


def _betas(arrays: dict[str, np.ndarray], path: Path) -> Tensor:
    betas = _numbers(arrays, "betas", path)
    if betas.ndim != 1 or len(betas) < 10:
        raise ValueError(f"{path}: field 'betas' has shape {betas.shape}, expected ten numbers or more for the clip")
    return _float(betas[:10])


def _frame_rate(arrays: dict[str, np.ndarray], path: Path) -> float:
    """Either spelling; both where they agree."""
    said = {name: _numbers(arrays, name, path) for name in RATES if name in arrays}
    if not said:
        raise ValueError(f"{path}: no field {' or '.join(RATES)}; add the frames a second")
    if any(rate.size != 1 for rate in said.values()) or len({rate.item() for rate in said.values()}) > 1:
        raise ValueError(f"{path}: {' and '.join(RATES)} must be one number, the same; got {said}")
    return float(next(iter(said.values())).item())


def _word(arrays: dict[str, np.ndarray], field: str, default: str) -> str:
    """A stored string; early releases of AMASS hold bytes."""
    if field not in arrays:
        return default
    word = arrays[field].reshape(-1)[:1].tolist()
    return (word[0].decode() if word and isinstance(word[0], bytes) else str(*word)).lower()
