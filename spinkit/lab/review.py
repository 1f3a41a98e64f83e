"""A person over the dictionary: look at a stored fit, accept it, reject it, or make it anew."""

import html
from collections.abc import Callable
from pathlib import Path

import ipywidgets
import torch
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from spinkit import view
from spinkit.body import Body
from spinkit.data import Samples
from spinkit.fits import ACCEPTED, REJECTED, SOURCES
from spinkit.keypoints import NAMES
from spinkit.lab.dictionary_pictures import cards
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.review_desk import STARTS, Desk, Question, lines
from spinkit.lab.sheets import jpeg
from spinkit.smplify import Fit
from spinkit.view import Judged

RULINGS = ("no ruling", "accepted", "rejected")
LOGGED = 8
"""Decisions that the log shows."""
VERSIONS = 2
"""Older bodies of a sample that are shown, the newest of them."""
SIDE = 224
"""Pixels of a picture's side: those of the crop."""
TEXT = 15
"""Pixels of the captions' font."""


class _Review:
    """The handles, and what each of them does at the desk."""

    def __init__(self, desk: Desk, key: int):
        self.desk, self.tried = desk, None
        self._make_handles(key)
        self._show_person()
        for button, act in self._presses().items():
            button.on_click(answering(self.trouble, act))
        self.person.observe(answering(self.trouble, lambda change: self._show_person()), names="value")

    def _make_handles(self, key: int) -> None:
        last = len(self.desk.people) - 1
        self.person = ipywidgets.BoundedIntText(key, min=0, max=last, description="person")
        self.reason = ipywidgets.Text(description="why", placeholder="who decides, and why")
        self.start = ipywidgets.Dropdown(options=STARTS, description="refit from")
        self.scale = ipywidgets.Dropdown(options=[25.0, 50.0, 100.0, 200.0], value=100.0, description="outliers, px")
        self.drop = ipywidgets.Checkbox(description="without the worst keypoint", indent=False)
        names = ("accept", "reject", "undo", "refit", "keep", "drop it", "save")
        self.buttons = {name: ipywidgets.Button(description=name) for name in names}
        for name, button in self.buttons.items():
            button.add_class(f"spinkit-review-{name.split()[0]}")
        self.buttons["save"].button_style = "primary"
        self.picture = ipywidgets.Image(format="jpeg", layout=ipywidgets.Layout(max_width="100%"))
        self.says, self.log, self.trouble = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()

    def _presses(self) -> dict[ipywidgets.Button, Callable]:
        fits = self.desk.run.fits
        acts = {
            "accept": lambda: fits.rule(self.key, ACCEPTED, self._note()),
            "reject": lambda: fits.rule(self.key, REJECTED, self._note()),
            "undo": lambda: fits.undo(self.key, self._note()),
            "keep": lambda: self.desk.keep(self.key, self.tried, self.reason.value),
            "drop it": lambda: None,
        }
        decided = {self.buttons[name]: lambda button, act=act: self._decide(act) for name, act in acts.items()}
        return decided | {
            self.buttons["refit"]: lambda button: self._try_again(),
            self.buttons["save"]: lambda button: self._save(),
        }

    @property
    def key(self) -> int:
        """Whom the review is about at this moment."""
        return self.person.value

    def _note(self):
        return self.desk.note(self.reason.value)

    def _decide(self, act: Callable[[], None]) -> None:
        act()
        self.reason.value = ""
        self._show_person()

    def _try_again(self) -> None:
        question = Question(self.start.value, self.scale.value, self.drop.value)
        self._show_person(self.desk.try_again(self.key, question))

    def _save(self) -> None:
        self.desk.save()
        self._show_log()

    def _show_person(self, tried: Fit | None = None) -> None:
        self.tried = tried
        for name in ("keep", "drop it"):
            self.buttons[name].disabled = tried is None
        self.picture.value = jpeg(self._picture())
        self.says.value = self._sentence()
        self._show_log()

    def _bodies(self) -> list[tuple[str, Judged | Fit]]:
        """What is shown beside the keypoints: older versions, the stored body, and what was tried."""
        shown = self.desk.versions(self.key)[-1 - VERSIONS :]
        return shown + ([("new, not kept", self.tried)] if self.tried is not None else [])

    def _picture(self) -> PillowImage.Image:
        desk = self.desk
        image = view.crops(desk.people, torch.tensor([self.key]))[0]
        pictures = [view.keypoints_on(image, desk.people.keypoints[self.key], side=SIDE)]
        titles, bodies = ["keypoints"], self._bodies()
        for name, one in bodies:
            pictures.append(view.overlay(image, desk.body, one, side=SIDE))
            titles.append(f"{name}\n{float(one.error[0]):.1f} px²")
        return cards(pictures, titles, columns=5, text=TEXT)

    def _sentence(self) -> str:
        fits, key = self.desk.run.fits, self.key
        source = SOURCES[int(fits.source(self.desk.run.spin["steps"])[key])]
        worst = NAMES[self.desk.worst(key)]
        return (
            f"person {key}: from {source}, stored error {float(fits.error[key]):.1f} px², "
            f"{int(fits.updates[key])} updates, <b>{RULINGS[int(fits.ruling[key])]}</b>; its worst keypoint is {worst}"
        )

    def _show_log(self) -> None:
        desk = self.desk
        told = lines(desk.run.fits.decisions, desk.saved)[:LOGGED]
        state = (
            f"<b>{desk.unsaved} unsaved</b>: press save to write them to {desk.folder}" if desk.unsaved else "all saved"
        )
        self.buttons["save"].disabled = not desk.unsaved
        self.log.value = "<br>".join([state, *(html.escape(line) for line in told)])

    def box(self) -> ipywidgets.VBox:
        """All handles in one column."""
        row, b = ipywidgets.HBox, self.buttons
        parts = [
            row([self.person, self.reason]),
            self.says,
            self.picture,
            row([b["accept"], b["reject"], b["undo"]]),
            row([self.start, self.scale, self.drop, b["refit"], b["keep"], b["drop it"]]),
            row([b["save"]]),
            self.log,
            self.trouble,
        ]
        return ipywidgets.VBox(parts).add_class("spinkit-review")

    def draw(self) -> Figure | PillowImage.Image:
        """The still: what lies on the desk."""
        return self._picture()


def review(run: str | Path, people: Samples, body: Body, key: int = 0) -> Explorer:
    """Accept, reject or refit stored fits by hand. What is decided is written when "save" is pressed, not before.

    In the training that follows, an accepted fit supervises whatever its error and stays; a rejected one supervises no
    more, and the first usable new fit takes its place.

    Args:
        run: a run's folder.
        people: its training set, as `job.prepare` gives it.
        body: that the fits are of.
        key: whom to show first.

    Raises:
        FileNotFoundError: the folder holds no run, or one without a snapshot.
        ValueError: the people are not those of the run, or there is no such person.
    """
    if not 0 <= key < len(people):
        raise ValueError(f"key: people are numbered from 0 to {len(people) - 1}, got {key}")
    desk = _Review(Desk(run, people, body), key)
    return Explorer(desk.box(), desk.draw, "a person's keypoints and the fits that were stored for them")
