"""Figures, overlays and tables: one call a figure."""

from spinkit.view.bodies import overlay, posed, save_gif, side_by_side, still, turntable, two_views
from spinkit.view.cameras import from_the_side, seen_through
from spinkit.view.charts import Table, bars, curves, dictionary_timeline, energy_bars, histogram, loop_table, matrix
from spinkit.view.clips import clip_sheet, exchanged
from spinkit.view.history import Judged, crops, gallery, judged, update_map, versions
from spinkit.view.images import as_picture, contact_sheet, keypoints_on, png
from spinkit.view.lineup import blended, heat_map, line_up
from spinkit.view.mapping import mapping
from spinkit.view.photos import boxes_on, on_photo
from spinkit.view.rendering import render, silhouette
from spinkit.view.scenes import Scene, body_figure, skeleton_figure
from spinkit.view.scores import joint_errors, ranking
from spinkit.view.style import PALETTE, SKIN

__all__ = [
    "PALETTE",
    "SKIN",
    "Judged",
    "Scene",
    "Table",
    "as_picture",
    "bars",
    "blended",
    "body_figure",
    "boxes_on",
    "clip_sheet",
    "contact_sheet",
    "crops",
    "curves",
    "dictionary_timeline",
    "energy_bars",
    "exchanged",
    "from_the_side",
    "gallery",
    "heat_map",
    "histogram",
    "joint_errors",
    "judged",
    "keypoints_on",
    "line_up",
    "loop_table",
    "mapping",
    "matrix",
    "on_photo",
    "overlay",
    "png",
    "posed",
    "ranking",
    "render",
    "save_gif",
    "seen_through",
    "side_by_side",
    "silhouette",
    "skeleton_figure",
    "still",
    "turntable",
    "two_views",
    "update_map",
    "versions",
]
