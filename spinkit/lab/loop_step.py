"""One step of the loop, slowly: image, regression, fit, verdict, target and losses, a stage at a time."""

import html

import ipywidgets
from jaxtyping import Int
from torch import Tensor

from spinkit.job import Prepared
from spinkit.lab.explorer import Explorer, answering
from spinkit.lab.sheets import AS_LARGE_AS_IT_IS, jpeg
from spinkit.lab.slow_step import slow_step
from spinkit.lab.step_pictures import PEOPLE, STAGES, StepPictures
from spinkit.spin import Run


def loop_step(
    ready: Prepared, run: Run, number: int | None = None, order: Int[Tensor, "rows"] | None = None
) -> Explorer:
    """One step of training, taken on copies of network and dictionary and shown a stage at a time.

    Args:
        ready: what the run was prepared from.
        run: whose network answers and whose dictionary is asked; left as it is.
        number: of the step, which decides who is in the batch. The run's next by default, or else the first that
            makes fits.
        order: rows of the batch in the order in which they are shown, to meet the same people at another time:
            `slow_step(…).order` of that time. By default those whose new fit wins and the others take turns.
    """
    settings = ready.world.settings
    number = max(run.steps_done, settings.first_fit_step) if number is None else number
    pictures = StepPictures(slow_step(run, ready.train, ready.world, number), ready.body, settings, order)
    alt = f"step {number} of the loop: what the batch of {len(pictures.step.batch)} is at each of {len(STAGES)} stages"
    return Explorer(_handles(pictures), pictures.still, alt)


def _handles(pictures: StepPictures) -> ipywidgets.VBox:
    """Buttons for the stages, a list of groups and a slider along the group."""
    numbered = [(f"{number} {stage}", stage) for number, stage in enumerate(STAGES, 1)]
    stage = ipywidgets.ToggleButtons(options=numbered, style={"button_width": "auto"})
    group = ipywidgets.Dropdown(options=list(pictures.groups), description="show")
    first = ipywidgets.IntSlider(0, 0, 1, description="from", continuous_update=False)
    told, wrong, shown = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.Image(format="jpeg", layout=AS_LARGE_AS_IT_IS)

    def draw(*_: object) -> None:
        rows = pictures.groups[group.value][first.value : first.value + PEOPLE]
        shown.value = jpeg(pictures.picture(stage.value, rows))
        told.value = html.escape(pictures.told(stage.value))

    def choose(*_: object) -> None:
        # A slider needs somewhere to go: one place more where everybody is shown at once.
        first.max = max(1, len(pictures.groups[group.value]) - PEOPLE)
        first.value = 0
        draw()

    choose()
    group.observe(answering(wrong, choose), "value")
    for handle in (stage, first):
        handle.observe(answering(wrong, draw), "value")
    root = ipywidgets.VBox([stage, ipywidgets.HBox([group, first]), told, wrong, shown])
    root.add_class("spinkit-loop")
    return root
