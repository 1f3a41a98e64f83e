"""The fits dictionary: the best fit of every image so far, and how it came to be.

Fits are stored as the untouched image shows them. An augmented crop reads its fit through its `Change`, and what it
writes has mirror and turn undone first. No camera is kept: it depends on the crop, and is solved for anew.

A person may rule over a fit: an accepted one supervises whatever its error and stays, a rejected one supervises no
more and gives way to the first usable new fit. Each such decision is kept, with what stood before it.
"""

from spinkit.fits.decisions import ACCEPTED, KINDS, NO_RULING, REJECTED, Decisions, Note
from spinkit.fits.dictionary import SOURCES, FitDictionary, load
from spinkit.fits.records import NEVER, Events, Snapshots, Verdict

__all__ = [
    "ACCEPTED",
    "KINDS",
    "NEVER",
    "NO_RULING",
    "REJECTED",
    "SOURCES",
    "Decisions",
    "Events",
    "FitDictionary",
    "Note",
    "Snapshots",
    "Verdict",
    "load",
]
