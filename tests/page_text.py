"""What a reader of a page sees of it: its words, without the pictures."""

from html.parser import HTMLParser

_BLOCKS = {
    *("p", "li", "tr", "h1", "h2", "h3", "dt", "div", "section", "figcaption", "dl", "pre"),
    *("table", "ul", "title"),
}
_UNSEEN = {"style", "script", "svg"}


def text_of(page: str) -> str:
    """The words of `page`, a block a line, cells apart; styles, scripts and pictures left out."""
    parts: list[str] = []

    class Reader(HTMLParser):
        unseen = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.unseen += tag in _UNSEEN
            if tag in _BLOCKS:
                parts.append("\n")
            if tag in ("td", "th", "dd"):
                parts.append(" | ")

        def handle_endtag(self, tag: str) -> None:
            self.unseen -= tag in _UNSEEN
            if tag in _BLOCKS:
                parts.append("\n")

        def handle_data(self, data: str) -> None:
            if not self.unseen:
                parts.append(data.replace("\n", " "))

    reader = Reader()
    reader.feed(page)
    reader.close()
    lines = ("".join(parts)).split("\n")
    kept = (" ".join(line.split()).removeprefix("| ") for line in lines)
    return "\n".join(line for line in kept if line) + "\n"
