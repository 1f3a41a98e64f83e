"""What works here, what is missing, where to get it, and what will be used: `python -m spinkit.doctor`.

The one room that must work where others do not, so nothing but the standard library is imported outside its checks.
"""

import importlib
import importlib.metadata
import os
import platform
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MARKS = {
    "ok": "works",
    "used": "used",
    "partial": "works in part",
    "missing": "not here",
    "unusable": "not usable",
    "broken": "BROKEN",
}
"""How a state is printed. Only what is broken keeps spinkit from working; the rest can do without."""

SETUP = "delete .venv and say ./run setup, or pip install -e . in an environment of your own"
IMPORTED = ("numpy", "scipy.sparse", "torch", "roma", "trimesh")
"""Packages with compiled parts, or close to those, that are tried and not only looked up."""

SPIN_DATA = "it comes with SPIN's data (fetch_data.sh of github.com/nkolot/SPIN); put it into data/smpl"
NEEDED_FOR = {
    "neutral": "needed for SPIN's own network and fits",
    "female": "needed to score against 3DPW's women",
    "male": "needed to score against 3DPW's men",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: Literal["ok", "used", "partial", "missing", "unusable", "broken"]
    detail: str
    remedy: str = ""
    """What to do about it; empty where nothing has to be done."""


def examine() -> list[Finding]:
    """Look at the installation, the machine and the data; nothing is changed, fetched or raised."""
    checks = (_python, _packages, _processor, _graphics_card, _opengl, _default_body, _pose_prior)
    looked = [_guarded(check) for check in checks]
    looked += [_guarded(lambda gender=gender: _smpl(gender), f"SMPL {gender}") for gender in NEEDED_FOR]
    looked += [_guarded(check) for check in (_mean_parameters, _smplify_prior, _checkpoint)]
    return looked + [_guarded(choice) for choice in (_which_body, _which_renderer, _which_device)]


def report(findings: Iterable[Finding], width: int = 100) -> str:
    """The findings as text, a paragraph each."""
    lines = []
    for found in findings:
        head = f"{MARKS[found.state]:<13} {found.name:<22} "
        text = found.detail if not found.remedy else f"{found.detail.rstrip('.')}. To do: {found.remedy}."
        lines.append(textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)))
    return "\n".join(lines)


def main() -> int:
    """Print the report; returns 1 where the installation itself is broken, else 0."""
    findings = examine()
    print(report(findings))
    broken = [found.name for found in findings if found.state == "broken"]
    print(f"\nspinkit does not work here: {', '.join(broken)}." if broken else "\nspinkit works here.")
    return 1 if broken else 0


def _guarded(check: Callable[[], Finding], name: str = "") -> Finding:
    """The check's finding; a check that fails has found a broken installation."""
    try:
        return check()
    except Exception as error:  # Whatever goes wrong here is what the report is about.
        name = name or check.__name__.strip("_").replace("_", " ")
        return Finding(name, "broken", f"{type(error).__name__}: {error}", SETUP)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _packages() -> Finding:
    """What the project asks for, looked up; those most likely to be damaged are also imported."""
    try:
        lines = [line for line in importlib.metadata.requires("spinkit") or () if "extra ==" not in line]
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", "broken", "spinkit itself is not installed for this Python", SETUP)
    wrong = [complaint for line in lines if (complaint := _complaint(line))]
    for name in IMPORTED if not wrong else ():
        try:
            importlib.import_module(name)
        except Exception as error:  # A damaged package fails in any way.
            wrong.append(f"{name} cannot be imported ({error})")
    if wrong:
        return Finding("packages", "broken", "; ".join(wrong), SETUP)
    return Finding("packages", "ok", f"all {len(lines)} are installed")


def _complaint(requirement: str) -> str:
    """What is wrong with one package; exact versions only are compared."""
    name, wanted = re.match(r"([\w.-]+)[^=]*(?:==([\d.]+))?", requirement).groups()
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is not installed"
    return f"{name} is {version} instead of {wanted}" if wanted and version.split("+")[0] != wanted else ""


def _processor() -> Finding:
    import torch

    from spinkit.spin.step import bfloat16_in_hardware

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = "bfloat16 in hardware" if bfloat16_in_hardware("cpu") else "no bfloat16 in hardware"
    return Finding("processor", "ok", f"cores: {cores}, threads of torch: {torch.get_num_threads()}; {kind}")


def _graphics_card() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("graphics card", "missing", f"torch {torch.__version__} sees none; all runs on the processor")
    properties = torch.cuda.get_device_properties(0)
    return Finding("graphics card", "ok", f"{properties.name}, {properties.total_memory / 2**30:.0f} GB")


def _opengl() -> Finding:
    from spinkit.view import gl

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        works = gl.usable()
    if works:
        return Finding("OpenGL", "ok", "pyrender draws over EGL, without a screen")
    why = str(said[-1].message) if said else "no EGL device, or no library libEGL.so.1 or libGL.so.1"
    return Finding(
        "OpenGL",
        "missing",
        f"{why}; pictures come from spinkit's own rasteriser and look alike",
        "for pyrender's, install libegl1 and libgl1 (Debian, Ubuntu) or mesa-llvmpipe, libegl and libgl (conda)",
    )


def _default_body() -> Finding:
    from spinkit import body

    body.load().keypoints_only()
    return Finding("default body", "ok", f"{body.default_path()}, free of licence")


def _pose_prior() -> Finding:
    from spinkit import priors

    mixture = priors.load()
    return Finding("pose prior", "ok", f"{priors.default_path()}, a mixture of {len(mixture.weights)} Gaussians")


def _smpl(gender: str) -> Finding:
    from spinkit import body

    name = f"SMPL {gender}"
    try:
        path = body.find(gender=gender)
    except (FileNotFoundError, ValueError) as error:
        return Finding(name, "missing", f"{NEEDED_FOR[gender]}. {error}")
    if path is None:
        site = "smplify.is.tue.mpg.de" if gender == "neutral" else "smpl.is.tue.mpg.de"
        remedy = f"register at https://{site}, put the file into data/smpl, or let SPINKIT_BODY name its folder"
        detail = f"no file in data/smpl, and SPINKIT_BODY is not set; {NEEDED_FOR[gender]}"
        return Finding(name, "missing", detail, remedy)
    try:
        human = body.load(path)
    except ValueError as error:
        return Finding(name, "unusable", str(error))
    lacking = {
        "J_regressor_extra.npy, so without keypoints and fits": human.keypoint_layer is None,
        "J_regressor_h36m.npy, so without Human3.6M's joints": human.h36m_regressor is None,
    }
    without = " and without ".join(what for what, lacks in lacking.items() if lacks)
    if without:
        return Finding(name, "partial", f"{path}, without {without}", SPIN_DATA)
    return Finding(name, "ok", f"{path}, with keypoints and Human3.6M's joints")


def _mean_parameters() -> Finding:
    from spinkit import hmr

    call = "hmr.read_mean_parameters"
    return _spin_file(
        "smpl_mean_params.npz", hmr.read_mean_parameters, call, "networks start from hmr.mean_parameters()"
    )


def _smplify_prior() -> Finding:
    from spinkit import priors

    return _spin_file("gmm_08.pkl", priors.load, "priors.load", "fits use the project's own pose prior")


def _checkpoint() -> Finding:
    # 300 MB; hmr.load_published checks every tensor when it is used.
    return _spin_file("model_checkpoint.pt", os.stat, "hmr.load_published", "networks are trained from scratch")


def _spin_file(name: str, read: Callable[[Path], object], call: str, instead: str) -> Finding:
    """One of SPIN's data files, looked for in data/smpl and data; it is used where a caller names it."""
    from spinkit.body import finding

    folder = finding.smpl_folder()
    path = next((place / name for place in (folder, folder.parent) if (place / name).is_file()), None)
    if path is None:
        return Finding(
            name, "missing", f"neither in data/smpl nor in data; {instead}", f"to have SPIN's own, {SPIN_DATA}"
        )
    try:
        read(path)
    except ValueError as error:
        return Finding(name, "unusable", str(error))
    return Finding(name, "ok", f"{path}, for {call}(path)")


def _which_body() -> Finding:
    from spinkit import body

    try:
        path = body.find()
        asked = f"body.load(body.find()) gives {path or 'the same, as no SMPL file is found'}"
    except (FileNotFoundError, ValueError) as error:
        asked = f"body.load(body.find()) is refused: {error}"
    return Finding("body", "used", f"body.load() gives the default body, {body.default_path().name}; {asked}")


def _which_renderer() -> Finding:
    from spinkit.view import gl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Already reported.
        drawn = "pyrender" if gl.usable() else "spinkit's own rasteriser"
    return Finding("pictures", "used", f"drawn by {drawn}")


def _which_device() -> Finding:
    import torch

    from spinkit.spin.step import bfloat16_in_hardware

    device, where = "cpu", "on the processor"
    if torch.cuda.is_available():
        device, where = "cuda", "on the graphics card where a caller moves the work there, else on the processor"
    kind = "bfloat16 for networks in the presets cpu and gpu" if bfloat16_in_hardware(device) else "float32"
    return Finding("computing", "used", f"{where}, in {kind}; bodies and fits are always float32")


if __name__ == "__main__":
    raise SystemExit(main())
