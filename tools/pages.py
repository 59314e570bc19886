"""The chapters as static pages, one folder of HTML that needs neither Jupyter nor a network.

python tools/pages.py        writes pages/, then open pages/index.html

A page shows a notebook as it is stored: nothing is run. There is no script on it and nothing comes from
elsewhere. Pictures are inside the page, and equations are MathML, which browsers draw by themselves.
"""

import argparse
import ast
import re
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from math_core import LatexError, LatexToMathML
from matplotlib.figure import Figure
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from seqlib.figures import style
from seqlib.figures.course import BUILDS_ON, plot_course_map

ROOT = Path(__file__).resolve().parent.parent

PAGE = """\
{%- extends "classic/base.html.j2" -%}
{%- macro navigation(label) -%}
<nav aria-label="{{ label }}">
{%- for text, name in resources.links %}
<a href="{{ name }}.html">{{ text | escape_html }}</a>
{%- endfor %}
</nav>
{%- endmacro -%}
{%- block header -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ resources.title | escape_html }}</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
{{ navigation("Chapters") }}
<main>
{% endblock header -%}
{%- block data_png scoped -%}
{{ super() }}
{%- if output.metadata.controls %}
<p class="controls">In the notebook this picture has controls. They stand at
<code>{{ output.metadata.controls | escape_html }}</code>.</p>
{%- endif %}
{%- endblock data_png -%}
{%- block footer %}
</main>
{{ navigation("Chapters, again") }}
</body>
</html>
{%- endblock footer -%}
"""

STYLE = """\
:root {
  color-scheme: light dark;
  --text: #1b1b1b; --paper: #ffffff; --faint: #f4f5f7; --line: #d5d8dc; --quiet: #595f69; --link: #0b5cad;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --text: #e3e3e3; --paper: #16181c; --faint: #21252b; --line: #3c424b; --quiet: #a7aeb8; --link: #7cb8ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 64rem; padding: 0 1rem 2rem;
  background: var(--paper); color: var(--text);
  font: 1.05rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: break-word;
}
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; justify-content: space-between; padding: 1rem 0; }
main { border-block: 1px solid var(--line); padding: 0.5rem 0 1.5rem; }
h1, h2, h3, h4 { line-height: 1.25; margin: 2rem 0 0.75rem; }
h1 { font-size: 2rem; margin-top: 1rem; }
h2 { font-size: 1.5rem; }
h3 { font-size: 1.2rem; }
.anchor-link { margin-left: 0.4em; text-decoration: none; opacity: 0; }
:is(h1, h2, h3, h4):hover .anchor-link, .anchor-link:focus { opacity: 1; }
p, ul, ol { max-width: 46rem; }
code, pre { font: 0.9rem ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: 0; padding: 0.6rem 0.8rem; overflow-x: auto; line-height: 1.45; }
.input pre { background: var(--faint); border: 1px solid var(--line); border-radius: 4px; }
.cell { margin: 0.9rem 0; }
.output_area { margin: 0.4rem 0; }
.output_stream pre, .output_text pre { border-left: 3px solid var(--line); padding-block: 0.2rem; }
img { max-width: 100%; height: auto; background: #ffffff; }
.controls { margin: 0.2rem 0; color: var(--quiet); font-size: 0.9rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid var(--line); padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
math { font-family: "STIX Two Math", "Latin Modern Math", "Cambria Math", "DejaVu Math TeX Gyre", math; }
.whole { white-space: nowrap; }
math[display="block"] { margin: 1rem 0; overflow-x: auto; overflow-y: hidden; padding-block: 0.2rem; }
@media print {
  body { max-width: none; font-size: 10.5pt; }
  nav, .anchor-link { display: none; }
  main { border: 0; }
  pre { white-space: pre-wrap; }
  img, tr, .input pre { break-inside: avoid; }
  h1, h2, h3, h4 { break-after: avoid; }
}
"""


class Renderer(IPythonRenderer):
    """Markdown as nbconvert renders it, but with equations as MathML and links to pages, not notebooks."""

    latex = LatexToMathML()

    def _mathml(self, tex: str, *, display: bool) -> str:
        # The space that LaTeX can be asked to leave between two rows, as in \\[4pt], is not understood.
        return self.latex.convert_with_local_state(
            re.sub(r"\\\\\[[^]]*\]", r"\\\\ ", tex), displaystyle=display
        )

    def block_math(self, body: str) -> str:
        return self._mathml(body, display=True)

    def inline_math(self, body: str) -> str:
        return self._mathml(body, display=False)

    def latex_environment(self, name: str, body: str) -> str:
        return self._mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", display=True)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, re.sub(r"^[\w./]*?(\d\d_\w+)\.ipynb", r"\1.html", url), title)


class Exporter(HTMLExporter):
    def markdown2html(self, source: str) -> str:
        html = MarkdownWithMath(renderer=Renderer(escape=False)).render(source)
        # Browsers would begin a line with the full stop after an equation.
        return re.sub(r"<math>((?!</math>).)*</math>[.,;:?!)]+", r'<span class="whole">\g<0></span>', html)


def make_exporter() -> Exporter:
    config = Config()
    config.NbConvertBase.display_data_priority = [  # no live widget and no script among them
        "text/html",
        "text/markdown",
        "image/svg+xml",
        "image/png",
        "image/jpeg",
        "text/plain",
    ]
    return Exporter(
        config=config,
        template_file="page.html.j2",
        extra_loaders=[DictLoader({"page.html.j2": PAGE})],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )


# What the pictures show, in words


def drawing_functions() -> dict[str, str]:
    """The first sentence of every plot_... and ..._explorer of seqlib, by the function's name."""
    layers = (ROOT / "seqlib/figures", ROOT / "seqlib/widgets")
    return {
        node.name: " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        for layer in layers
        for path in layer.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and re.match(r"plot_|\w+_explorer$", node.name)
    }


LABELS = ("title", "set_title", "suptitle", "xlabel", "set_xlabel", "ylabel", "set_ylabel", "label", "text")


def words_about(source: str, known: dict[str, str]) -> str:
    """What a cell's code says about its figure: what it is drawn by, and the labels that stand in it."""
    drawn_by: list[str] = []
    labels: list[str] = []
    try:
        nodes = ast.walk(ast.parse(source))
    except SyntaxError:  # such as a magic command
        return ""
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        drawn_by += [known[name]] if name in known else []
        given = [(name, value) for value in node.args] + [(word.arg, word.value) for word in node.keywords]
        labels += [
            " ".join(value.value.split())
            for where, value in given
            if where in LABELS and isinstance(value, ast.Constant) and isinstance(value.value, str)
        ]
    said = list(dict.fromkeys(drawn_by))
    if labels:
        said.append(f"Labels: {', '.join(dict.fromkeys(labels))}.")
    return " ".join(said)


def describe_pictures(notebook: NotebookNode, known: dict[str, str]) -> None:
    """Give every picture a text alternative, unless one is stored with it."""
    for cell in notebook.cells:
        outputs = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        for number, output in enumerate(outputs, 1):
            plain = output.data.get("text/plain", "")
            explorer = re.fullmatch(r"Explorer\((.*)\)", plain, re.DOTALL)
            kind = f"Explorer with {explorer[1]}." if explorer else "Figure."
            if len(outputs) > 1:
                kind = f"{kind[:-1]}, {number} of {len(outputs)}."
            alt = f"{kind} {words_about(cell.source, known) or 'What the code above it draws.'}"
            output.metadata.setdefault("image/png", {}).setdefault("alt", alt)
            if explorer:
                output.metadata["controls"] = explorer[1]


# The folder


def front_page(chapters: list[tuple[str, str]], readme: str) -> NotebookNode:
    """What the README says of the course, its map, and the chapters with their questions."""
    title, introduction, _ = readme.split("\n\n", 2)
    questions = dict(
        re.findall(r"^\| \d\d \| \[.+?\]\(notebooks/(\w+)\.ipynb\) \| (.+?) \|", readme, re.MULTILINE)
    )
    arrows = ", ".join(f"from {earlier} to {number}" for number, earlier in BUILDS_ON.items())
    text = f"""{title}

{introduction}

These pages are for reading. They show what was stored when the notebooks ran, so explorers are pictures here
and exercises are unsolved. To move the sliders and solve them, install the course as its README says.

## The map

![The chapters with a question each. Arrows lead to what builds on a chapter: {arrows}.](map.svg)

## The chapters

| chapter | the question |
|---|---|
"""
    rows = [f"| [{title}]({name}.ipynb) | {questions.get(name, '')} |" for name, title in chapters]
    return new_notebook(cells=[new_markdown_cell(text + "\n".join(rows))])


def draw_map(path: Path, *, available: set[int]) -> None:
    with style.look():
        figure = Figure(figsize=(10.1, 5.0), layout="constrained")
        plot_course_map(figure.subplots(), available=available & {0, *BUILDS_ON})
        figure.savefig(path, metadata={"Date": None})


def style_sheet() -> str:
    light, dark = (
        HtmlFormatter(style=name).get_style_defs(".highlight pre") for name in ("default", "github-dark")
    )
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n{STYLE}"


def title_of(notebook: NotebookNode, path: Path) -> str:
    first = re.match(r"# (.+)", notebook.cells[0].source) if notebook.cells else None
    return first[1] if first else path.stem


def build(folder: Path, out: Path) -> None:
    """Write a page for each chapter in `folder`, and the front page, into `out`."""
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    notebooks = [nbformat.read(path, as_version=4) for path in paths]
    chapters = [
        (path.stem, title_of(notebook, path)) for path, notebook in zip(paths, notebooks, strict=True)
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    course = readme.splitlines()[0].removeprefix("# ")
    exporter, known = make_exporter(), drawing_functions()

    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9][0-9]_*.html"):
        old.unlink()
    (out / "style.css").write_text(style_sheet(), encoding="utf-8")
    draw_map(out / "map.svg", available={int(path.name[:2]) for path in paths})

    def write(name: str, notebook: NotebookNode, title: str, links: list[tuple[str, str]]) -> None:
        try:
            html, _ = exporter.from_notebook_node(notebook, {"title": title, "links": links})
        except LatexError as error:
            raise SystemExit(f"An equation of {name} can't be turned into MathML:\n{error}") from None
        (out / f"{name}.html").write_text(html, encoding="utf-8")

    to = [(f"{title} →", name) for name, title in chapters]
    back = [(f"← {title}", name) for name, title in chapters]
    write("index", front_page(chapters, readme), course, to[:1])
    for number, (notebook, (name, title)) in enumerate(zip(notebooks, chapters, strict=True)):
        describe_pictures(notebook, known)
        links = [*back[:number][-1:], ("All chapters", "index"), *to[number + 1 :][:1]]
        write(name, notebook, f"{title}: {course}", links)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "notebooks", help="where the notebooks are")
    parser.add_argument("--out", type=Path, default=ROOT / "pages", help="where the pages go")
    options = parser.parse_args(argv)
    build(options.folder, options.out)
    print(f"Open {options.out / 'index.html'} in a browser.")


if __name__ == "__main__":
    main()
