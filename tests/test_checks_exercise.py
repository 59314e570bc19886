"""What a learner may hand to a check, and what the check says."""

import contextlib
import re
import signal
import sys
import threading
import time
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlib.checks.comparing import difference
from seqlib.checks.exercise import Exercise, Prediction, Report
from seqlib.checks.guard import TimeUp, within


def _scale(x, factor):
    """x (B, T), factor -> (B, T)"""
    return x * factor


def exercise(**changes):
    """A small exercise: multiply by a factor."""
    settings = dict(
        reference=_scale,
        inputs=lambda g: (torch.randn(3, 5, generator=g), 2 + torch.rand((), generator=g).item()),
        mistakes={
            "The factor is missing.": lambda x, factor: x,
            "It is added.": lambda x, factor: x + factor,
            "The result is transposed.": lambda x, factor: (x * factor).T,
        },
        hints=("Which operation?", "It is *."),
        letters="B T",
        seconds=0.1,
    )
    return Exercise(**{**settings, **changes})


# Right answers


@pytest.mark.parametrize("seed", range(10))
def test_the_reference_is_correct(seed):
    report = exercise()(_scale, seed=seed)
    assert report.correct and report.status == "correct"
    assert repr(report) == "✓ scale: correct\n  It agrees with the reference on 3 random inputs."


def test_another_way_of_computing_the_same_is_correct():
    assert exercise()(lambda x, factor: torch.stack([row * factor for row in x])).correct


def test_an_agreement_on_some_inputs_only_is_not_correct():
    seen = []

    def right_once(x, factor):
        seen.append(x)
        return x * factor if len(seen) == 1 else x + 100

    assert exercise()(right_once).status == "wrong"


def test_every_kind_of_input_is_tried():
    above = exercise(
        reference=lambda x: x.clamp(max=1.0),
        inputs=(lambda g: (torch.rand(3, generator=g),), lambda g: (1 + torch.rand(3, generator=g),)),
        mistakes={"It is always one.": lambda x: torch.ones(3)},
    )
    assert above(lambda x: x.clone()).status == "wrong"
    assert above(lambda x: torch.ones(3)).message == "It is always one."
    assert above(lambda x: torch.minimum(x, torch.tensor(1.0))).correct


# Stubs


def documented(x, factor):
    """x (B, T), factor -> (B, T)"""


def passing(x, factor):
    pass


def dotted(x, factor): ...


def raising(x, factor):
    """x (B, T), factor -> (B, T)"""
    raise NotImplementedError


def prepared(x, factor):
    rows = len(x)
    raise NotImplementedError(f"your code for {rows} rows here")


@pytest.mark.parametrize("stub", [documented, passing, dotted, raising, prepared, lambda: None])
def test_an_empty_stub_is_not_attempted_yet(stub):
    report = exercise()(stub)
    assert report.status == "not attempted" and not report.correct
    assert repr(report) == "○ scale: not attempted yet"


def test_an_unimplemented_operation_of_torch_is_an_error_and_not_a_stub():
    def unimplemented(x, factor):
        return torch._foobar(x) if False else _deeper()

    def _deeper():
        raise NotImplementedError("no kernel")

    report = exercise()(unimplemented)
    assert report.status == "error" and "NotImplementedError: no kernel" in report.message


# What can't be called, or fails


@pytest.mark.parametrize("thing", [None, 3, torch.ones(2), "scale"])
def test_what_is_no_function_is_refused_with_advice(thing):
    report = exercise()(thing)
    assert report.status == "error"
    assert (
        "TypeError: the check needs a function" in report.message and "check.scale(scale)" in report.message
    )


def test_a_wrong_number_of_parameters_is_named():
    report = exercise()(lambda x: x)
    assert report.status == "error"
    assert report.message == "It is called with 2 arguments (x, factor), but takes (x)."


def test_an_exception_is_shown_with_the_learners_own_line_and_the_inputs():
    def failing(x, factor):
        y = x.clone()
        return y @ torch.ones(7, 2)  # the line to blame

    report = exercise()(failing)
    assert report.status == "error"
    assert report.message.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x5 and 7x2)")
    assert "in failing, line " in report.message and "the line to blame" in report.message
    assert "x: a float32 tensor of shape (3, 5)" in report.message and "factor: 2." in report.message


def test_the_line_shown_is_the_learners_and_not_the_librarys():
    def failing(x, factor):
        return torch.nn.functional.linear(x, torch.nn.Linear(3, 2)(x))  # mine

    assert "# mine" in exercise()(failing).message


@pytest.mark.parametrize(
    "error", [SystemExit(1), RecursionError("deep"), GeneratorExit(), ValueError("a" * 9999)]
)
def test_no_exception_of_the_learner_leaves_the_check(error):
    def failing(x, factor):
        raise error

    report = exercise()(failing)
    assert report.status == "error" and type(error).__name__ in report.message and len(report.message) < 700


def test_an_exception_whose_text_fails_is_reported_too():
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError

    def failing(x, factor):
        raise Unspeakable

    assert "Unspeakable" in exercise()(failing).message


def test_reports_name_no_addresses():
    def failing(x, factor):
        raise ValueError(f"bad {object()}")

    assert "0x..." in repr(exercise()(failing))


# Results that can't be right


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, factor: print("no return"), "It returned None. Is the return missing?"),
        (lambda x, factor: (x * factor).tolist(), "should be a tensor, not a list of 3."),
        (lambda x, factor: x.numpy() * factor, "should be a tensor, not an ndarray."),
        (lambda x, factor: (row for row in x), "should be a tensor, not a generator."),
        (lambda x, factor: x[0], "The result has the wrong shape: expected (3, 5) = (B, T), got (5,) = (T)."),
        (lambda x, factor: x.sum(), "expected (3, 5) = (B, T), got () = a single number."),
        (lambda x, factor: (x * factor).double(), "has the wrong dtype: expected float32, got float64."),
        (lambda x, factor: x / 0 * 0, "The result contains NaN first at [0, 0] (B, T)."),
        (lambda x, factor: x.abs() / 0, "The result contains infinity first at [0, 0] (B, T)."),
        (lambda x, factor: -x * factor, "It is -1 times what is expected everywhere."),
        (lambda x, factor: 0 * x, "It is 0 everywhere."),
        (lambda x, factor: x * factor + torch.eye(3, 5), "3 of 15 elements differ."),
    ],
)
def test_a_wrong_result_is_described(function, expected):
    report = exercise()(function)
    assert report.status == "wrong" and expected in report.message


def test_the_first_differing_element_is_shown_with_index_and_both_values():
    last = exercise(reference=lambda x, factor: torch.zeros(3, 5), mistakes={}, look="Look there.")
    report = last(lambda x, factor: torch.eye(3, 5).flip(0) * 2)
    assert report.message == (
        "The result differs first at [0, 2] (B, T): expected 0, got 2. 3 of 15 elements differ.\nLook there."
    )


def test_swapped_axes_are_named_by_their_letters():
    message = exercise(mistakes={})(lambda x, factor: (x * factor).T).message
    assert message == "The result has the wrong shape: expected (3, 5) = (B, T), got (5, 3) = (T, B)."


def test_the_place_to_look_is_shown_where_tensors_do_not_fit_and_not_for_a_slip_of_the_pen():
    check = exercise(look="Look there.")
    assert check(lambda x, factor: x @ x).message.endswith("\nLook there.")
    assert check(lambda x, factor: x[:, 9]).message.endswith("\nLook there.")
    assert check(lambda x, factor: x.T[0]).message.endswith("\nLook there.")
    assert not check(lambda x, factor: x * facto).message.endswith("Look there.")  # noqa: F821
    assert not check(lambda x: x).message.endswith("Look there.")


def test_what_is_wrong_before_a_failure_is_told_first():
    uneven = exercise(
        reference=lambda x: x.clamp(max=1.0),
        inputs=(lambda g: (torch.rand(3, generator=g),), lambda g: (1 + torch.rand(5, generator=g),)),
        mistakes={"It is twice that.": lambda x: 2 * x.clamp(max=1.0)},
    )
    assert "RuntimeError" in uneven(lambda x: x.clamp(max=1.0) * torch.ones(3)).message
    assert uneven(lambda x: 2 * x * torch.ones(3)).message == "It is twice that."


def test_an_argument_changed_in_place_is_named():
    report = exercise()(lambda x, factor: x.mul_(factor))
    assert report.status == "wrong" and report.message.startswith("It changes its argument x in place.")


def test_a_list_argument_changed_in_place_is_named():
    lists = exercise(
        reference=lambda parts: [2 * part for part in parts], inputs=lambda g: ([torch.ones(3)],), mistakes={}
    )
    assert lists(lambda parts: [part.add_(part) for part in parts]).message.startswith(
        "It changes its argument parts"
    )
    assert lists(lambda parts: [2 * parts.pop()]).message.startswith("It changes its argument parts")
    assert lists(lambda parts: tuple(part + part for part in parts)).correct


def test_a_detached_result_is_wrong_only_where_gradients_are_asked_for():
    def cut(x, factor):
        return (x * factor).detach()

    assert exercise()(cut).correct
    attached = exercise(
        inputs=lambda g: (torch.randn(3, 5, generator=g, requires_grad=True), 2.0), gradient=True
    )
    assert attached(_scale).correct
    report = attached(cut)
    assert report.status == "wrong" and "cut off from the graph" in report.message


# Known mistakes


@pytest.mark.parametrize("seed", range(10))
def test_every_mistake_earns_its_own_message(seed):
    check = exercise()
    for message, mistake in check.mistakes.items():
        report = check(mistake, seed=seed)
        assert (report.status, report.message) == ("mistake", message)


def test_a_mistake_is_recognised_in_another_dtype():
    assert exercise()(lambda x, factor: x.double()).message == "The factor is missing."


def test_a_mistake_that_agrees_with_the_answer_here_does_not_claim_a_right_result():
    check = exercise(mistakes={"It rounds wrongly.": lambda x, factor: x * factor})
    assert check(_scale).correct


def test_observations_are_compared_instead_of_results():
    def gradient(result, args):
        return {"the gradient with respect to x": torch.autograd.grad(result.sum(), args[0])[0]}

    check = exercise(
        inputs=lambda g: (torch.randn(3, 5, generator=g, requires_grad=True), 2.0),
        observe=gradient,
        mistakes={"The graph is cut in half.": lambda x, factor: x + (x * (factor - 1)).detach()},
        gradient=True,
    )
    assert check(_scale).correct
    assert check(lambda x, factor: x + (x * (factor - 1)).detach()).message == "The graph is cut in half."
    assert "The gradient with respect to x differs" in check(lambda x, factor: x.detach() + x * 7).message


def test_a_result_that_can_not_be_observed_is_reported():
    check = exercise(
        inputs=lambda g: (torch.randn(3, 5, generator=g, requires_grad=True), 2.0),
        observe=lambda result, args: torch.autograd.grad(result.sum(), args[0])[0],
        mistakes={},
    )
    report = check(lambda x, factor: x.detach() * factor)
    assert report.status == "error" and "Its result could not be examined: RuntimeError" in report.message


# Randomness


def _draw(p, generator):
    return torch.multinomial(p.expand(400, -1), 1, generator=generator)[:, 0]


def sampler():
    return Exercise(
        reference=_draw,
        inputs=lambda g: (torch.tensor([0.2, 0.3, 0.5]), g),
        observe=lambda result, args: result.bincount(minlength=3) / len(result),
        mistakes={},
        hints=(),
        tolerance=0.15,
    )


def test_any_correct_sampler_passes():
    def by_inversion(p, generator):
        return (torch.rand(400, 1, generator=generator) > p.cumsum(0)[:-1]).sum(1)

    assert sampler()(by_inversion).correct


def test_a_sampler_that_ignores_its_generator_is_found_out():
    report = sampler()(lambda p, generator: _draw(p, None))
    assert report.status == "mistake" and "hand generator on" in report.message


def test_a_sampler_whose_draws_do_not_depend_on_its_generator_is_found_out():
    for own in (torch.Generator, lambda: torch.Generator().manual_seed(3)):
        report = sampler()(lambda p, generator, own=own: _draw(p, own()))
        assert report.status == "mistake" and "don't depend on the state of generator" in report.message
    report = sampler()(lambda p, generator: _draw(p, generator.manual_seed(3)))
    assert report.status == "mistake" and "don't depend on the state of generator" in report.message


def test_a_function_with_a_memory_is_found_out():
    memory = []

    def forgetful(x, factor):
        memory.append(0)
        return x * factor + (len(memory) > 3)

    report = exercise()(forgetful)
    assert report.message == "Called twice with the same arguments, it gave two different results."


# What must not harm the notebook


def test_what_never_ends_is_ended():
    def endless(x, factor):
        while True:
            x = x + 1

    report = exercise()(endless)
    assert report.status == "error"
    assert report.message == "It had not finished after 0.1 s. Is there a loop that never ends?"


def test_what_sleeps_is_woken():
    started = time.monotonic()
    assert "had not finished" in exercise()(lambda x, factor: time.sleep(30)).message
    assert time.monotonic() - started < 20


def test_what_swallows_every_exception_is_ended():
    def stubborn(x, factor):
        for _ in range(2):
            with contextlib.suppress(BaseException):
                while True:
                    pass
        while True:
            pass

    assert "had not finished" in exercise(seconds=0.02)(stubborn).message


@pytest.fixture
def interruptible():
    """What Ctrl-C does in a notebook. A process that a shell has started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_learners_own_interruption_passes_through_and_everything_is_restored(interruptible):
    before = signal.getsignal(signal.SIGINT), sys.stdout, torch.is_grad_enabled()

    def interrupted(x, factor):
        torch.set_grad_enabled(False)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        exercise(seconds=5)(interrupted)
    assert (signal.getsignal(signal.SIGINT), sys.stdout, torch.is_grad_enabled()) == before


def test_a_limit_reached_at_the_very_end_interrupts_nothing_later():
    before = signal.getsignal(signal.SIGINT)
    rounds = 0
    for _ in range(100):
        with contextlib.suppress(TimeUp):
            within(0.0, lambda: [i * i for i in range(50)], ())
        rounds += 1
    assert rounds == 100 and signal.getsignal(signal.SIGINT) is before


def test_outside_of_the_main_thread_a_check_works_without_a_limit():
    reports = []
    thread = threading.Thread(target=lambda: reports.append(exercise()(_scale)))
    thread.start()
    thread.join()
    assert reports[0].correct


def test_what_prints_a_lot_is_shown_in_part_and_counted(capsys):
    def noisy(x, factor):
        for i in range(1000):
            print("line", i)
        print("x" * 100_000, file=sys.stderr)
        return x * factor

    report = exercise(seconds=5)(noisy)
    assert report.correct and capsys.readouterr() == ("", "")
    assert report.printed[0] == "line 0" and report.printed[-1] == "... and 991 more lines"
    assert len(repr(report)) < 500


def test_what_prints_without_end_is_ended():
    def endless(x, factor):
        while True:
            print("again" * 100)

    report = exercise()(endless)
    assert "had not finished" in report.message and len(report.printed) == 11
    assert report.printed[-1] == "... and so on"


def test_warnings_are_shown_without_the_place_they_come_from():
    def warned(x, factor):
        warnings.warn("careful", UserWarning, stacklevel=1)
        return x * factor

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert exercise()(warned).printed == ("UserWarning: careful",)


def test_torchs_global_state_is_left_as_it_was():
    def careless(x, factor):
        torch.manual_seed(99)
        torch.rand(5)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return x * factor

    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert exercise()(careless).correct
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    with torch.no_grad():
        assert exercise()(_scale).correct
        assert not torch.is_grad_enabled()


def test_a_check_leaves_no_thread_behind():
    before = threading.active_count()
    exercise()(_scale)
    assert threading.active_count() == before


# What is shown


def test_the_same_function_gets_the_same_report_every_time():
    check = exercise()
    first, second = check(lambda x, factor: x * 3), check(lambda x, factor: x * 3)
    assert first == second and repr(first) == repr(second) and first._repr_html_() == second._repr_html_()


def test_html_says_in_words_what_the_colour_says_and_escapes_the_learners_text():
    def failing(x, factor):
        raise ValueError("<b>bold</b>")

    html = exercise()(failing)._repr_html_()
    assert "! scale: it could not be checked" in html and "&lt;b&gt;bold" in html
    assert "background" not in html and "; color:" not in html


@pytest.mark.parametrize("status", ["not attempted", "correct", "mistake", "wrong", "error"])
def test_every_status_has_a_look(status):
    report = Report(status, "why", "name")
    assert "name: " in repr(report) and "why" in report._repr_html_()
    assert report.correct == (status == "correct")


def test_hints_come_one_by_one_and_end_with_the_way_to_the_solution():
    check = exercise()
    shown = [repr(check.hint()) for _ in range(4)]
    assert shown[0] == "Hint 1 of 2 for scale\n  Which operation?"
    assert shown[1] == "Hint 2 of 2 for scale\n  It is *."
    assert (
        shown[2]
        == shown[3]
        == "No more hints for scale\n  All 2 are given. check.scale.solution() shows an answer."
    )


def test_the_solution_is_the_references_source():
    solution = exercise().solution()
    assert solution.text.startswith("def scale(x, factor):") and solution.text.endswith("return x * factor")
    assert "<pre" in solution._repr_html_()


# Comparing


def test_nested_results_are_compared_item_by_item():
    expected = [torch.ones(2), (3, "yes")]
    assert difference(expected, (torch.ones(2), [3, "yes"]), tolerance=1e-6) is None
    assert (
        difference(expected, [torch.ones(2)], tolerance=1e-6)
        == "The result should be a list of 2, not a list of 1."
    )
    assert difference(expected, [torch.ones(2), (4, "yes")], tolerance=1e-6) == (
        "Item 0 of item 1 of the result differs: expected 3, got 4."
    )
    assert "expected 'yes', got 'no'" in difference(expected, [torch.ones(2), (3, "no")], tolerance=1e-6)
    assert "should be a dictionary" in difference({"a": 1}, 1, tolerance=1e-6)
    assert "lacks 'a'" in difference({"a": 1}, {}, tolerance=1e-6)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_numbers_and_their_tensors_are_judged_alike(one, other):
    as_number = difference(one, other, tolerance=1e-5) is None
    assert as_number == (difference(one, torch.tensor(other, dtype=torch.float64), tolerance=1e-5) is None)
    assert difference(one, one, tolerance=0.0) is None


# Predictions


def test_a_missing_prediction_says_what_to_do():
    prediction = Prediction("How many?")
    assert (
        repr(prediction)
        == "How many?\n  no prediction yet: put your guess into the cell above and run it again"
    )
    assert repr(prediction.compare(8)) == "No prediction was made. Measured: 8"
    assert not prediction.compare(8).close


def test_a_number_is_compared_within_a_factor():
    prediction = Prediction("How many?", guess=3, unit="steps")
    assert repr(prediction) == "How many?\n  your prediction: 3 steps"
    assert repr(prediction.compare(8)) == "You said 3 steps, measured: 8 steps (not within a factor of 1.1)"
    assert (
        repr(prediction.compare(8, within=3)) == "You said 3 steps, measured: 8 steps (within a factor of 3)"
    )
    assert repr(prediction.compare(torch.tensor(3.0))) == (
        "You said 3 steps, measured: 3 steps (within a factor of 1.1)"
    )


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(1, 10))
def test_closeness_does_not_depend_on_who_is_the_guess(one, other, factor):
    a = Prediction("?", guess=one).compare(other, within=factor).close
    assert a == Prediction("?", guess=other).compare(one, within=factor).close
    assert not Prediction("?", guess=-one).compare(other, within=factor).close


def test_zero_is_close_to_zero_only():
    assert Prediction("?", guess=0).compare(0.0).close
    assert not Prediction("?", guess=0).compare(1e-9).close


def test_a_choice_is_right_or_not():
    prediction = Prediction("Grows?", choices=("grows", "shrinks"), guess="grows")
    assert repr(prediction.compare("grows")) == "You said grows, measured: grows (right)"
    assert repr(prediction.compare("shrinks")) == "You said grows, measured: shrinks (it came out otherwise)"
    assert "(one of 'grows', 'shrinks')" in repr(Prediction("Grows?", choices=("grows", "shrinks")))
    assert "Grows?" in prediction._repr_html_() and "right" in prediction.compare("grows")._repr_html_()


@pytest.mark.parametrize("guess", ["relu", " ReLU ", "RELU", "ReLU"])
def test_a_choice_may_be_written_in_any_case_and_is_shown_as_it_was_offered(guess):
    prediction = Prediction("Which?", choices=("tanh", "sigmoid", "ReLU"), guess=guess)
    assert prediction.guess == "ReLU" and "your prediction: ReLU" in repr(prediction)
    assert repr(prediction.compare("ReLU")) == "You said ReLU, measured: ReLU (right)"
    assert repr(prediction.compare("Tanh")) == "You said ReLU, measured: tanh (it came out otherwise)"


def test_a_choice_that_fits_exactly_goes_before_one_in_another_case():
    assert Prediction("?", choices=("a", "A"), guess="A").guess == "A"
    assert Prediction("?", choices=(10, 20), guess="20").guess == 20


@pytest.mark.parametrize(
    ("guess", "choices", "complaint"),
    [
        ("stays", ("grows", "shrinks"), r"guess must be one of \['grows', 'shrinks'\], got 'stays'"),
        (float("nan"), None, "guess must be a finite number, got nan"),
        (float("inf"), None, "guess must be a finite number, got inf"),
        ("many", None, "guess must be a finite number, got 'many'"),
    ],
)
def test_impossible_guesses_are_refused(guess, choices, complaint):
    with pytest.raises(ValueError, match=complaint):
        Prediction("?", choices=choices, guess=guess)


@pytest.mark.parametrize("chapter", ["3", -1, 10, 99, 3.0, True, [3]])
@pytest.mark.parametrize("guess", [None, 3])
def test_a_chapter_that_there_is_not_is_refused(chapter, guess, learner):
    complaint = f"chapter must be the number of a chapter, from 0 to 9, got {chapter!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        Prediction("?", chapter=chapter, guess=guess)


def test_an_impossible_measurement_is_refused():
    with pytest.raises(ValueError, match="measured must be one of"):
        Prediction("?", choices=(1, 2)).compare(3)
    with pytest.raises(ValueError, match="within is a factor"):
        Prediction("?").compare(3, within=0.5)
