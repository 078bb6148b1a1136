r"""On paper an answer cannot be folded away, so it moves to the end of its page.

Questions are numbered. Each says on which page its answer stands, and each answer leads back. A
reader who wants to think first can, and one who wants to know turns a few pages, not four hundred.
"""

from __future__ import annotations

from bs4 import BeautifulSoup, Tag

_SOUP = BeautifulSoup("", "html.parser")


def collect(article: Tag) -> int:
    """Number the entries of a chapter and move their answers to its end; how many there were."""
    entries = [e for e in article.select(".entry") if e.select_one(".entry-answer")]
    if not entries:
        return 0
    heading = article.select_one(".on-page.level-1")
    level = min(int(heading.name[1]) + 1, 6) if heading else 2
    part = _new("section", "answers")
    part.append(_new(f"h{level}", "on-page level-2", "Answers"))
    for number, entry in enumerate(entries, 1):
        name = str(entry["id"])
        answer = entry.select_one(".entry-answer").extract()  # type: ignore[union-attr]
        answer.name = "div"
        answer["id"] = f"{name}--answer"
        answer["class"] = ["answer"]
        for summary in answer.select(".opened-summary, summary"):
            summary.decompose()
        kind = "Question" if "entry-question" in entry["class"] else "Exercise"
        head = _new("p", "answer-head")
        head.append(_link(f"#{name}", f"{kind} {number}", "answer-back"))
        answer.insert(0, head)
        part.append(answer)

        title = _new("p", "entry-number", f"{kind} {number}")
        entry.insert(0, title)
        way = _new("p", "entry-way")
        way.append(_link(f"#{name}--answer", "Answer", "page-number"))
        entry.append(way)
    (article.find("section", recursive=False) or article).append(part)
    return len(entries)


def _new(name: str, classes: str, text: str = "") -> Tag:
    tag = _SOUP.new_tag(name, attrs={"class": classes.split()})
    if text:
        tag.string = text
    return tag


def _link(target: str, text: str, classes: str) -> Tag:
    link = _new("a", classes, text)
    link["href"] = target
    return link
