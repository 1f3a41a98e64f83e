"""Bodies for other programs: still meshes, motions, predictions, and pages that play them.

    save_mesh(path, vertices, faces)          one body as obj, ply or glb
    of_fits(fits, frame_rate)                 the fits of a clip as a motion in the camera's frame
    in_frame(motion, body, "world_zup")       the same motion upright for Blender and AMASS's tools
    save_amass(path, motion)                  AMASS's npz, and `load_amass`
    save_animation(path, motion, body)        a skinned, animated glb for Blender and three.js
    save_page(path, motion, body)             a page that plays the motion and needs no network
    save_predictions(path, said)              what SPIN's evaluation saves, and `load_predictions`

Overlays and turntables are pictures, and come from `view`: `view.overlay(...).save("fit.png")`, and
`view.save_gif(view.turntable(...), "fit.gif")`.
SPIN's and EFT's files of fits have a room of their own, `fit_files`.
"""

from spinkit.export.amass import load_amass, save_amass
from spinkit.export.animation import Animated, animated, save_animation
from spinkit.export.meshes import FORMATS, save_mesh
from spinkit.export.motion import Motion, in_frame, of_fits
from spinkit.export.page import save_page
from spinkit.export.predictions import Predictions, load_predictions, save_predictions

__all__ = [
    "FORMATS",
    "Animated",
    "Motion",
    "Predictions",
    "animated",
    "in_frame",
    "load_amass",
    "load_predictions",
    "of_fits",
    "save_amass",
    "save_animation",
    "save_mesh",
    "save_page",
    "save_predictions",
]
