"""The map of the course: complete, legible, and chapters to come differ in more than their colour."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from seqlib.figures import style
from seqlib.figures.course import BUILDS_ON, plot_course_map
from seqlib.progress import CHAPTERS

AVAILABLE = [(), (0, 2, 3), tuple(range(10))]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(params=AVAILABLE, ids=["none", "some", "all"])
def drawn(request):
    with style.look():
        ax = plot_course_map(available=request.param)
        ax.figure.draw_without_rendering()
    return ax, request.param


def cards(ax):
    return {p.get_gid(): p for p in ax.patches if isinstance(p, FancyBboxPatch)}


def arrows(ax):
    return {p.get_gid(): p for p in ax.patches if isinstance(p, FancyArrowPatch)}


def contrast(colour, other):
    light = [0.05 + sum(w * v**2.2 for w, v in zip((0.2126, 0.7152, 0.0722), to_rgb(c), strict=True))
             for c in (colour, other)]  # fmt: skip
    return max(light) / min(light)


def test_every_chapter_has_a_card_with_its_number_and_title(drawn):
    ax, _ = drawn
    assert set(cards(ax)) == {f"chapter {number}" for number, _, _ in CHAPTERS}
    words = [text.get_text().replace("\n", " ") for text in ax.texts]
    for number, _, title in CHAPTERS:
        assert str(number) in words and title in words


def test_chapters_to_come_are_told_from_written_ones_by_words_and_border(drawn):
    ax, available = drawn
    assert [text.get_text() for text in ax.texts].count("to come") == len(CHAPTERS) - len(available)
    for number, _, _ in CHAPTERS:
        card = cards(ax)[f"chapter {number}"]
        assert (card.get_linestyle() in ("solid", "-")) == (number in available)


def test_words_stay_inside_their_card_and_do_not_touch_each_other(drawn):
    ax, _ = drawn
    boxes = [card.get_window_extent() for card in cards(ax).values()]
    extents = [text.get_window_extent() for text in ax.texts]
    for extent in extents:
        around = [
            b
            for b in boxes
            if b.x0 < extent.x0 and extent.x1 < b.x1 and b.y0 < extent.y0 and extent.y1 < b.y1
        ]
        assert len(around) == 1
    for i, one in enumerate(extents):
        assert not any(one.overlaps(other) for other in extents[i + 1 :])


def test_cards_do_not_touch_and_arrows_run_between_the_right_ones(drawn):
    ax, _ = drawn
    boxes = {name: card.get_window_extent() for name, card in cards(ax).items()}
    for name, box in boxes.items():
        assert not any(box.overlaps(other) for of, other in boxes.items() if of != name)
    assert set(arrows(ax)) == {f"{earlier} to {number}" for number, earlier in BUILDS_ON.items()}
    near = 0.12 * ax.figure.dpi
    for name, arrow in arrows(ax).items():
        start, end = name.split(" to ")
        tail, tip = ax.transData.transform(arrow._posA_posB)
        assert boxes[f"chapter {start}"].padded(near).contains(*tail)
        assert boxes[f"chapter {end}"].padded(near).contains(*tip)
        assert not any(box.contains(*point) for box in boxes.values() for point in (tail, tip))


def test_the_map_can_be_read(drawn):
    ax, available = drawn
    assert ax.figure.get_size_inches()[0] <= 10
    for text in ax.texts:
        assert text.get_fontsize() >= 10
        assert contrast(text.get_color(), "#EAF3FA") >= 4.5


def test_a_chapter_builds_on_earlier_ones_only():
    assert set(BUILDS_ON) == set(range(1, 10))
    assert all(earlier < number for number, earlier in BUILDS_ON.items())


def test_a_chapter_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"available.*0 to 9, got \[12\]"):
        plot_course_map(available=[2, 12])
    assert plt.get_fignums() == []


def test_it_draws_into_the_axes_that_are_given():
    with style.look():
        _, ax = style.new_figure(9.9, 4.8)
        assert plot_course_map(ax, available=[]) is ax
    assert plt.get_fignums() == []
