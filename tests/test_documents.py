"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "data/README.md",
    "docs/classroom.md",
    "notebooks/README.md",
]
FOLDERS = ("artifacts", "benchmarks", "data", "docs", "notebooks", "seqlib", "tests", "tools")


def prose(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_picture_leads_to_a_file(document):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", prose(document))
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_of_the_course_that_is_named_exists(document):
    named = re.findall(rf"\b(?:{'|'.join(FOLDERS)})[/\\][\w./\\]*\w", prose(document))
    paths = {path.replace("\\", "/") for path in named if "NN" not in path}
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_layout_names_every_module_of_the_package():
    (layout,) = re.findall(r"^seqlib/ .*?(?=^\w)", prose("README.md"), flags=re.MULTILINE | re.DOTALL)
    modules = {path.name for path in (ROOT / "seqlib").glob("[!_]*.py")}
    assert set(re.findall(r"\w+\.py", layout)) == modules


def test_files_have_the_same_bytes_on_every_system():
    files = [*ROOT.glob("*.*"), *ROOT.glob("data/*"), *ROOT.glob("notebooks/**/*.*"), *ROOT.glob("seqlib/*")]
    texts = [path for path in files if path.suffix in {".ipynb", ".json", ".md", ".py", ".toml", ".txt"}]
    assert len(texts) > 20
    assert [path for path in texts if b"\r" in path.read_bytes()] == []
