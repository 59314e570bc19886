"""What the checks show: plain text that is the same on every run, and HTML for light and dark themes."""

import html
import textwrap
from dataclasses import dataclass
from typing import Literal

Status = Literal["not attempted", "correct", "mistake", "wrong", "error"]

LOOKS = {  # symbol, words, colour (Okabe and Ito's, which readers with any colour vision tell apart)
    "not attempted": ("○", "not attempted yet", "#999999"),
    "correct": ("✓", "correct", "#009E73"),
    "mistake": ("✗", "not right yet, and this is a known mistake", "#E69F00"),
    "wrong": ("✗", "not right yet", "#D55E00"),
    "error": ("!", "it could not be checked", "#CC79A7"),
}


def box(head: str, body: str, colour: str) -> str:
    """A paragraph with a coloured bar at its left. The text keeps the page's colour and suits every theme."""
    return (
        f'<div style="border-left: 0.3em solid {colour}; padding: 0.1em 0.9em; margin: 0.4em 0">'
        f"<strong>{html.escape(head)}</strong>{body}</div>"
    )


def paragraph(text: str) -> str:
    return f'<div style="white-space: pre-wrap">{html.escape(text)}</div>' if text else ""


def listing(text: str) -> str:
    return f'<pre style="margin: 0.2em 0">{html.escape(text)}</pre>'


@dataclass(frozen=True, repr=False)
class Report:
    """What a check found. `printed` holds what the function printed when it was called for the first time."""

    status: Status
    message: str
    name: str = ""
    printed: tuple[str, ...] = ()

    @property
    def correct(self) -> bool:
        return self.status == "correct"

    @property
    def head(self) -> str:
        symbol, words, _ = LOOKS[self.status]
        return f"{symbol} {self.name}: {words}" if self.name else f"{symbol} {words}"

    def __repr__(self) -> str:
        text = f"{self.head}\n{textwrap.indent(self.message, '  ')}" if self.message else self.head
        if self.printed:
            text += "\n  It printed:\n" + "\n".join(f"  | {line}" for line in self.printed)
        return text

    def _repr_html_(self) -> str:
        printed = paragraph("It printed:") + listing("\n".join(self.printed)) if self.printed else ""
        return box(self.head, paragraph(self.message) + printed, LOOKS[self.status][2])


@dataclass(frozen=True, repr=False)
class Note:
    """A hint or a solution, to be read."""

    title: str
    text: str
    code: bool = False

    def __repr__(self) -> str:
        return f"{self.title}\n{textwrap.indent(self.text, '  ')}"

    def _repr_html_(self) -> str:
        return box(self.title, (listing if self.code else paragraph)(self.text), "#0072B2")
