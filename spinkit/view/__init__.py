"""Figures, overlays and tables: one call a figure."""

from spinkit.view.bodies import overlay, posed, save_gif, side_by_side, still, turntable
from spinkit.view.charts import Table, curves, dictionary_timeline, energy_bars, histogram, loop_table
from spinkit.view.images import as_picture, contact_sheet, keypoints_on
from spinkit.view.rendering import render, silhouette
from spinkit.view.scenes import Scene, body_figure, skeleton_figure
from spinkit.view.style import PALETTE, SKIN

__all__ = [
    "PALETTE",
    "SKIN",
    "Scene",
    "Table",
    "as_picture",
    "body_figure",
    "contact_sheet",
    "curves",
    "dictionary_timeline",
    "energy_bars",
    "histogram",
    "keypoints_on",
    "loop_table",
    "overlay",
    "posed",
    "render",
    "save_gif",
    "side_by_side",
    "silhouette",
    "skeleton_figure",
    "still",
    "turntable",
]
