"""tools/pages.py: stored notebooks become pages that need neither Jupyter nor a network."""

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

# tools/pages.py. (ruff would sort it differently where `make pages` has made a folder of this name.)
import pages  # isort: skip

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted(ROOT.glob("notebooks/[0-9][0-9]_*.ipynb"))
NAMES = [path.stem for path in CHAPTERS]
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PNG = "iVBORw0KGgo="
WORDS = r"""# 3 Backpropagation & time

With $h_t = \tanh(a_t)$ and $t$, as [before](02_rnn.ipynb#A-sum) `$HOME`:

$$ \begin{aligned} a &= W x \\[4pt] b &< \frac{a}{2} \end{aligned} $$

## A sum

### Of $n$ parts

| symbol | meaning |
|---|---|
| $h_t$ | the state |
"""


def picture(text: str = "<Figure size 100x100 with 1 Axes>", **more: object) -> nbformat.NotebookNode:
    return new_output("display_data", data={"text/plain": text, "image/png": PNG}, **more)


def write(folder: Path, name: str, *cells: nbformat.NotebookNode) -> None:
    notebook = new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}})
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The pages of two small chapters."""
    folder, out = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("site") / "pages"
    write(folder, "02_rnn", new_markdown_cell("# 2 Networks\n\n## A sum\n\nSee [on](03_bptt.ipynb)."))
    live = picture("Explorer(gain=0.9)")
    live.data[WIDGET_VIEW] = {"model_id": "7f0b"}
    write(
        folder,
        "03_bptt",
        new_markdown_cell(WORDS),
        new_code_cell("x = 1 < 2", outputs=[new_output("stream", name="stdout", text="one <eos>")]),
        new_code_cell("gradient_decay_explorer()", outputs=[live]),
        new_code_cell(
            "ax.set(xlabel='step', title=f'{n}')\nax.set_title('two\\nlines')", outputs=[picture()]
        ),
        new_code_cell("show()", outputs=[picture(), picture()]),
        new_code_cell("show()", outputs=[picture(metadata={"image/png": {"alt": "A curve that falls."}})]),
    )
    pages.main(["--folder", str(folder), "--out", str(out)])
    return out


def page(out: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((out / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def all_pages(out: Path) -> list[BeautifulSoup]:
    found = [page(out, path.stem) for path in sorted(out.glob("*.html"))]
    assert len(found) == 3
    return found


def alts(out: Path, name: str) -> list[str]:
    return [image["alt"] for image in page(out, name).find_all("img")]


def test_nothing_on_a_page_comes_from_elsewhere_and_nothing_runs(out):
    for soup in all_pages(out):
        assert soup.find_all(["script", "iframe", "object", "embed", "style", "base"]) == []
        for tag in soup.find_all(True):
            for address in filter(None, (tag.get("src"), tag.get("href"), tag.get("srcset"))):
                assert address.startswith(("data:image/png;base64,", "#")) or ":" not in address
                assert not address.startswith("/")
    for name in ("style.css", "map.svg"):
        written = (out / name).read_text(encoding="utf-8")
        assert not re.search(r"@import|url\((?!#)|href=\"(?!#)|<script", written)


def test_every_link_leads_to_a_page_and_to_a_place_on_it(out):
    links = 0
    for name in ("index", "02_rnn", "03_bptt"):
        for tag in page(out, name).find_all(href=True):
            target, _, fragment = unquote(tag["href"]).partition("#")
            assert (out / target).exists()
            assert not fragment or page(out, Path(target).stem if target else name).find(id=fragment)
            links += tag.name == "a"
    assert links > 10


def test_a_page_leads_to_the_chapters_beside_it_and_to_the_front_page(out):
    top, bottom = page(out, "02_rnn").find_all("nav")
    assert [link["href"] for link in top.find_all("a")] == ["index.html", "03_bptt.html"]
    assert top.find_all("a") == bottom.find_all("a") and top["aria-label"] != bottom["aria-label"]
    assert page(out, "03_bptt").nav.a["href"] == "02_rnn.html"


def test_every_equation_is_mathml(out):
    soup = page(out, "03_bptt")
    assert len(soup.find_all("math")) == 5
    assert [whole.get_text() for whole in soup.select(".whole")] == ["t,"]
    (block,) = soup.find_all("math", display="block")
    assert [len(row.find_all("mtd", recursive=False)) for row in block.find_all("mtr")] == [2, 2]
    assert "".join(block.get_text().split()) == "a=Wxb<a2"
    assert soup.td.math.find("msub").get_text() == "ht"
    assert soup.p.code.get_text() == "$HOME"
    for code in soup.find_all(["code", "pre"]):
        code.decompose()
    assert not re.search(r"\$|\\", soup.main.get_text())


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_the_equations_and_links_of_the_course_are_fit_for_pages(chapter):
    exporter = pages.make_exporter()
    for cell in nbformat.read(chapter, as_version=4).cells:
        if cell.cell_type == "markdown":
            soup = BeautifulSoup(exporter.markdown2html(cell.source), "html.parser")
            for link in soup.select("a:not(.anchor-link)"):
                assert "://" in link["href"] or link["href"].partition(".html")[0] in NAMES
            for code in soup.find_all("code"):
                code.decompose()
            assert not re.search(r"\$|\\|\[\d+(pt|em)\]", soup.get_text())


def test_an_equation_that_is_not_understood_is_named_with_its_page(tmp_path):
    write(tmp_path, "05_wrong", new_markdown_cell(r"# 5 Wrong" + "\n\n" + r"Here is $\nosuchcommand x$."))
    with pytest.raises(SystemExit, match=r"(?s)05_wrong.*nosuchcommand"):
        pages.build(tmp_path, tmp_path / "pages")


def test_every_picture_has_words(out):
    for soup in all_pages(out):
        assert all(image["alt"].strip() for image in soup.find_all("img"))


def test_the_words_are_the_stored_ones_or_what_the_code_says_of_the_picture(out):
    explorer, labelled, first, second, stored = alts(out, "03_bptt")
    assert explorer.startswith("Explorer with gain=0.9. How a gradient fades or grows on its way back")
    assert labelled == "Figure. Labels: step, two lines."
    assert first == "Figure, 1 of 2. What the code above it draws."
    assert second.startswith("Figure, 2 of 2.")
    assert stored == "A curve that falls."


def test_an_explorer_is_a_picture_that_tells_how_its_controls_stand(out):
    text = (out / "03_bptt.html").read_text(encoding="utf-8")
    assert "7f0b" not in text and "Jupyter" not in text
    (controls,) = page(out, "03_bptt").select(".controls code")
    assert controls.get_text() == "gain=0.9"


def test_code_and_output_are_shown_as_they_are(out):
    written = [part.get_text().strip() for part in page(out, "03_bptt").find_all("pre")]
    assert written[:2] == ["x = 1 < 2", "one <eos>"]


def test_pages_have_a_language_a_title_and_headings_in_order(out):
    titles = set()
    for soup in all_pages(out):
        assert soup.html["lang"] == "en"
        levels = [int(heading.name[1]) for heading in soup.find_all(re.compile(r"h[1-6]$"))]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
        titles.add(soup.title.get_text())
    assert "3 Backpropagation & time: Sequence models you can touch" in titles and len(titles) == 3


def test_the_front_page_lists_the_chapters_and_shows_the_map(out):
    soup = page(out, "index")
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in soup.select("tbody tr")]
    assert rows == [
        ["2 Networks", "How can a network of fixed size read a sequence of any length?"],
        ["3 Backpropagation & time", "How does step 3 learn of a mistake at step 80?"],
    ]
    assert [link["href"] for link in soup.select("tbody a")] == ["02_rnn.html", "03_bptt.html"]
    assert soup.main.img["src"] == "map.svg" and "from 7 to 8" in soup.main.img["alt"]


def test_the_readme_has_a_question_for_every_chapter():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (cell,) = pages.front_page([(name, name) for name in NAMES], readme).cells
    rows = cell.source.split("|---|---|\n")[1].splitlines()
    assert len(rows) == len(CHAPTERS)
    assert all(re.fullmatch(r"\| \[\w+\]\(\w+\.ipynb\) \| .+\? \|", row) for row in rows)


def test_a_notebook_of_ones_own_becomes_a_page_and_pages_of_chapters_that_are_gone_go(tmp_path):
    write(tmp_path, "06_new", new_code_cell("%matplotlib inline\nplot()", outputs=[picture()]))
    (tmp_path / "pages").mkdir()
    for name in ("06_old.html", "mine.html"):
        (tmp_path / "pages" / name).write_text("before")
    pages.build(tmp_path, tmp_path / "pages")
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names == {"06_new.html", "mine.html", "index.html", "style.css", "map.svg"}
    assert page(tmp_path / "pages", "index").select_one("tbody a").get_text() == "06_new"
    assert alts(tmp_path / "pages", "06_new") == ["Figure. What the code above it draws."]
