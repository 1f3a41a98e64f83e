"""pyrender without a screen. Nothing here runs at import, and no setting of the process is left changed.

One renderer serves a process, made at the first picture and never deleted: deleting one ends the display that
all share. It works only in the thread that made it, and a forked child that touches it hangs; `usable` knows.
"""

import ctypes
import functools
import os
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, UInt8

from spinkit.view.shading import AMBIENT, GAMMA, LIGHTS, Shot, vertex_normals

_FLIP = np.diag([1.0, -1.0, -1.0])  # OpenGL's camera has y up and looks along -z.


@functools.cache
def installed() -> bool:
    """Whether EGL and OpenGL are here and find a device. Asked by ctypes: PyOpenGL decides once for all."""
    try:
        egl = ctypes.CDLL("libEGL.so.1", mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL("libGL.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return False
    count = ctypes.c_int(0)
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))(address)
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0


def usable() -> bool:
    """Whether this thread of this process may draw by OpenGL."""
    if not installed():
        return False
    renderer, owner = _renderer()
    return renderer is not None and owner == _here()


def colours(shot: Shot) -> UInt8[np.ndarray, "height width 4"]:
    """The lit picture; its colours are already multiplied by alpha, the part of a pixel that is covered."""
    import pyrender

    flags = pyrender.RenderFlags.RGBA
    picture, _ = _draw(shot, flags)
    return picture


def covered(shot: Shot) -> Bool[np.ndarray, "height width"]:
    """The pixels whose centre the mesh covers. Depth does not tell: EGL averages it over a pixel."""
    import pyrender

    picture, _ = _draw(shot, pyrender.RenderFlags.SEG, segment=True)
    return picture[..., 0] > 0


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


@functools.cache
def _renderer() -> tuple[object | None, tuple[int, int]]:
    """The process's only renderer, or None where a driver is installed but does not work, and who made it."""
    try:
        with _headless():
            import pyrender

            return pyrender.OffscreenRenderer(64, 64), _here()
    except Exception as error:  # Drivers fail in many ways, and every one of them means the same here.
        warnings.warn(f"OpenGL is installed but does not work ({error}); using the rasteriser", stacklevel=2)
        return None, _here()


@contextmanager
def _headless() -> Iterator[None]:
    """Have PyOpenGL choose EGL and pyrender skip its window, whose library needs a display to import."""
    before = os.environ.get("PYOPENGL_PLATFORM")
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    window = types.ModuleType("pyrender.viewer")
    window.Viewer = None
    sys.modules.setdefault("pyrender.viewer", window)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyOpenGL 3.1.0 is of 2014 and says so in many ways.
            yield
    finally:
        if before is None:
            del os.environ["PYOPENGL_PLATFORM"]
        else:
            os.environ["PYOPENGL_PLATFORM"] = before


def _draw(shot: Shot, flags: int, segment: bool = False) -> tuple[np.ndarray, np.ndarray]:
    scene, body = _scene(shot)
    renderer, _ = _renderer()
    renderer.viewport_height, renderer.viewport_width = shot.size
    return renderer.render(scene, flags, {body: (255, 255, 255)} if segment else None)


def _scene(shot: Shot) -> tuple[object, object]:
    """A new scene for every picture, as pyrender ties a scene to a renderer; and the mesh's node in it."""
    import pyrender

    scene = pyrender.Scene(bg_color=[0, 0, 0, 0], ambient_light=[AMBIENT] * 3)
    body = scene.add(_mesh(shot))
    depth = shot.vertices[:, 2]
    # Near and far hug the body: seen through a focal length of 5000 it stands 40 m away.
    near, far = max(float(depth.min()) - 0.1, 0.01), float(depth.max()) + 0.1
    scene.add(pyrender.IntrinsicsCamera(shot.focal, shot.focal, *shot.center, znear=near, zfar=max(far, near + 0.1)))
    for direction, strength in LIGHTS:
        pose = trimesh.geometry.align_vectors([0, 0, 1], _FLIP @ direction)  # A light shines along its -z.
        scene.add(pyrender.DirectionalLight(intensity=strength), pose=pose)
    return scene, body


def _mesh(shot: Shot) -> object:
    import pyrender

    flip = torch.from_numpy(_FLIP).to(shot.vertices)
    vertices = shot.vertices @ flip
    colour = torch.cat([shot.colour**GAMMA, torch.ones_like(shot.colour[:, :1])], dim=-1)
    primitive = pyrender.Primitive(
        positions=vertices.float().numpy(),
        normals=vertex_normals(vertices, shot.faces).float().numpy(),
        color_0=colour.float().numpy(),
        indices=shot.faces.numpy().astype(np.uint32),
        material=pyrender.MetallicRoughnessMaterial(
            baseColorFactor=(1.0, 1.0, 1.0, 1.0), metallicFactor=0.0, roughnessFactor=1.0
        ),
        mode=pyrender.constants.GLTF.TRIANGLES,
    )
    return pyrender.Mesh([primitive])
