"""Widgets for the chapters: the body, a fit, a step of the loop and the dictionary, to be touched."""

from spinkit.lab.explorer import Explorer, has_front_end

__all__ = ["Explorer", "has_front_end"]
