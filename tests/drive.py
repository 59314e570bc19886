"""Move every control of an Explorer through its whole range, as the tests of all chapters' explorers do."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from xml.etree import ElementTree

import ipywidgets

from seqlib.widgets.explorer import Explorer


def settings(control: ipywidgets.Widget) -> list[Any]:
    """Minimum, middle and maximum of a control, or all its options."""
    if isinstance(control, ipywidgets.Checkbox | ipywidgets.ToggleButton):
        return [False, True]
    if control.has_trait("options"):  # Dropdown, ToggleButtons, RadioButtons, SelectionSlider
        return [value for _, value in control._options_full]
    if control.has_trait("min") and control.has_trait("max"):
        low, high = control.min, control.max
        middle = low + (high - low) / 2
        if isinstance(control, ipywidgets.FloatLogSlider):
            return [control.base**exponent for exponent in (low, middle, high)]
        if control.has_trait("step") and control.step:
            middle = low + round((middle - low) / control.step) * control.step
        return [type(control.value)(value) for value in (low, middle, high)]
    return [control.value]  # a text or an unbounded number: what the lesson begins with


@cache
def _made(make: Callable[[], Explorer]) -> tuple[Explorer, dict[str, Any]]:
    explorer = make()
    return explorer, explorer.values


def opened(make: Callable[[], Explorer]) -> Explorer:
    """What `make` makes, with its controls as they were then; made once for all tests, since that takes long.

    Not for a test of what happens when an explorer is made, nor for one that changes more than controls.
    """
    explorer, begin = _made(make)
    _set(explorer, begin)
    return explorer


def _set(explorer: Explorer, values: dict[str, Any]) -> None:
    """Set several controls; only the last that changes draws, since nobody looks at pictures on the way."""
    changed = [name for name, value in values.items() if explorer.controls[name].value != value]
    for name in changed[:-1]:
        control = explorer.controls[name]
        control.unobserve(explorer.redraw, "value")
        control.value = values[name]
        control.observe(explorer.redraw, "value")
    for name in changed[-1:]:
        explorer.controls[name].value = values[name]


def drive(explorer: Explorer) -> Iterator[dict[str, Any]]:
    """Set each control to each of its `settings`, the others as they were; then all to their first, and last.

    Checks that each time there is a picture with a description, and yields the values, so that a test can
    look closer. The controls end where they began.
    """
    begin = explorer.values
    steps = [{name: value} for name, control in explorer.controls.items() for value in settings(control)]
    for place in (0, -1):
        steps.append({name: settings(control)[place] for name, control in explorer.controls.items()})
    for step in [*steps, {}]:
        _set(explorer, begin | step)
        check_picture(explorer)
        yield explorer.values


def check_picture(explorer: Explorer) -> None:
    """Its picture is there, says in words what it shows, and nothing went wrong."""
    assert explorer.error == "", f"{explorer}: {explorer.error}"
    picture = ElementTree.fromstring(explorer.overlay.value.replace("xlink:", ""))
    assert picture.get("role") == "img"
    assert picture.get("aria-label", "").strip(), f"{explorer} has no description"
    assert len(picture), f"{explorer} shows nothing that moves"
    for word in ("nan", "inf"):
        assert word not in picture.get("aria-label", "").lower().split(), f"{explorer} speaks of {word}"
