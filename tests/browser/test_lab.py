"""The chapters in JupyterLab, touched as a person would: handles move data and pixels, and nothing goes wrong."""

from collections.abc import Callable

from page import Chapter, changed_pixels, errors
from server import finished_run

MOST_BYTES = 3_000_000
VISIBLE = 300
"""Pixels; a change that a person notices has more."""


def touch(chapter: Chapter, root: str, act: Callable[[], None]) -> dict[str, float]:
    """Touch a handle of a widget: what its figures hold has to change, and what the screen shows of them."""
    widget = chapter.figures(root)
    held, shown = chapter.held(root), chapter.pixels(widget)
    seconds = chapter.times(root, act)
    assert chapter.held(root) != held
    assert changed_pixels(shown, chapter.pixels(widget)) > VISIBLE
    return seconds


def saved_well(chapter: Chapter) -> None:
    """What the page wrote to disk is light and free of errors; what it asked for stayed on the machine."""
    path = chapter.save()
    assert not errors(path)
    assert path.stat().st_size < MOST_BYTES
    assert not chapter.outside
    assert not chapter.complaints


def in_both_themes(chapter: Chapter, root: str) -> None:
    """Keep a picture of the widget for people to look at."""
    for theme in ("Light", "Dark"):
        chapter.theme(theme)
        chapter.picture(chapter.figures(root), theme.lower())


def test_the_body_follows_its_sliders_and_a_click(open_chapter, times):
    chapter, root = open_chapter("00_body"), ".spinkit-body"
    chapter.run_all()
    knee = [touch(chapter, root, lambda: chapter.press(f"{root} .spinkit-slider-x")) for _ in range(5)]
    shape = [touch(chapter, root, lambda: chapter.press(f"{root} .spinkit-slider-beta0")) for _ in range(5)]
    times |= {"00 joint": knee, "00 shape": shape}
    touch(chapter, root, lambda: chapter.choose(f"{root} .spinkit-choose-colour", "weights of the joint"))
    joint = f"{root} .spinkit-choose-joint"
    assert chapter.chosen(joint) == "Left Knee"
    touch(chapter, root, lambda: chapter.click(f"{root} .js-plotly-plot", 0.44, 0.4))  # the middle of the trunk
    assert chapter.chosen(joint).startswith(("Pelvis", "Spine"))
    in_both_themes(chapter, root)
    saved_well(chapter)


def test_the_fit_follows_the_iteration_and_the_button(open_chapter, times):
    chapter, root = open_chapter("01_smplify"), ".spinkit-fit"
    chapter.run_all()
    slider = f"{root} .spinkit-slider-iteration"
    chapter.figures(root)
    chapter.press(slider, "Home")
    moved = [touch(chapter, root, lambda: chapter.press(slider)) for _ in range(5)]
    times |= {"01 iteration": moved, "01 drag": [touch(chapter, root, lambda: chapter.drag(slider, 60))]}
    chapter.picture(chapter.figures(root), "moved")
    button = f"{root} .spinkit-press-fit"
    times["01 fit"] = [touch(chapter, root, lambda: chapter.push(button))]
    in_both_themes(chapter, root)
    saved_well(chapter)


def test_the_dictionary_follows_its_threshold(open_chapter, lab, times):
    finished_run(lab.project)
    chapter, root = open_chapter("04_explore_fits"), ".spinkit-dictionary"
    chapter.run_all()
    slider = f"{root} .spinkit-slider-threshold"
    chapter.figures(root)
    dragged = [touch(chapter, root, lambda way=way: chapter.drag(slider, way)) for way in (-30, 15, -15, 30, -20)]
    times |= {"04 threshold": dragged}
    in_both_themes(chapter, root)
    saved_well(chapter)
