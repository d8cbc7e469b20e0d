"""Links between documents lead somewhere, and so do the names of files in comments."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SOURCES = [
    path
    for source in (ROOT / "shared/src", *(ROOT / "services").glob("*/src"))
    for path in source.rglob("*")
    if path.suffix in {".py", ".sql", ".js", ".html", ".css"}
]
OTHERS = [path for name in ("deploy", "tests") for path in (ROOT / name).rglob("*")]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
# With a folder, or it may be anybody's.
NAMED = re.compile(r"(?<![\w{}<>*./$-])((?:[\w-]+/)+[\w-]+\.(?:py|sql|js|html|css|md))\b")


def headings(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the document's headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def test_every_link_leads_somewhere() -> None:
    lost = [
        f"{document.relative_to(ROOT)}: {found[0]}"
        for document in DOCUMENTS
        for found in LINK.finditer(document.read_text(encoding="utf-8"))
        if not (target := document.parent / found[1] if found[1] else document).exists()
        or (found[2] and target.suffix == ".md" and found[2] not in headings(target))
    ]
    assert lost == []


def test_every_file_that_a_comment_names_is_there() -> None:
    there = [f"/{path.relative_to(ROOT).as_posix()}" for path in (*DOCUMENTS, *SOURCES, *OTHERS)]
    lost = [
        f"{source.relative_to(ROOT)}: {name}"
        for source in SOURCES
        for name in NAMED.findall(source.read_text(encoding="utf-8"))
        if not any(path.endswith(f"/{name}") for path in there)
    ]
    assert lost == []
