#!/usr/bin/env python3
"""Draws docs/flows.svg and life.svg from their texts; `--check` only says whether they are what it draws.

The same text gives the same bytes everywhere: no clock, no fonts, no library. A text that does not
fit its place is an error, judged by the widths of a common sans-serif font and some to spare.
"""

import pathlib
import sys
from xml.sax.saxutils import escape

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = [HERE / "flows.txt", HERE / "life.txt"]

OTHERS = {"conjur", "kms", "s3"}  # the lanes that are none of ours

LANE = 196  # from one lane to the next
EDGE = 108  # from the picture's edge to the first lane
HEAD = 30  # the top of the lanes' heads
BOX = 164  # their width
NOTE = 176  # the width of what happens in one place

# Widths in thousandths of the font's size, rounded up, of what is not 600 wide.
NARROW = dict.fromkeys("fijlrtI.,:;'()/- ", 380)
WIDE = dict.fromkeys("mwMWO", 880)

# Light and dark, by the reader's own choice. The card has its own background, so that it can be read
# on any page.
STYLE = """
.card{fill:#ffffff;stroke:#d5dae1}.ink{fill:#1c2430}.dim{fill:#5b6675}.life{stroke:#c4ccd6}
.band{fill:#f3f5f8}.head{fill:#ffffff;stroke:#8a96a5}.own{fill:#e8eefc;stroke:#4a6fd0}
.note{fill:#fffdf6;stroke:#b9a36a}
.plain{stroke:#6b7685;fill:#6b7685}.secret{stroke:#c2410c;fill:#c2410c}.sealed{stroke:#1f7a4d;fill:#1f7a4d}
.t-plain{fill:#333d4b}.t-secret{fill:#a83608}.t-sealed{fill:#17663f}.num{fill:#4a6fd0}
@media (prefers-color-scheme:dark){
.card{fill:#12161c;stroke:#323a45}.ink{fill:#e8edf3}.dim{fill:#9aa6b4}.life{stroke:#3d4753}
.band{fill:#1a2028}.head{fill:#12161c;stroke:#6c7886}.own{fill:#1b2a4d;stroke:#7d9cf0}
.note{fill:#262214;stroke:#9c8a52}
.plain{stroke:#8e9aa9;fill:#8e9aa9}.secret{stroke:#fb8a4e;fill:#fb8a4e}.sealed{stroke:#4cc38a;fill:#4cc38a}
.t-plain{fill:#ccd5df}.t-secret{fill:#ffa574}.t-sealed{fill:#6ad3a0}.num{fill:#3f66cc}
}
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.life{stroke-width:1.2;stroke-dasharray:2 5}.line{stroke-width:1.6;fill:none}.tip{stroke:none}
"""


class Fault(Exception):
    """Something in the text that cannot be drawn."""


def width(text, size):
    """How many pixels a text takes at most in the fonts that are asked for."""
    return sum(NARROW.get(c, WIDE.get(c, 600)) for c in text) * size / 1000


def marked(text):
    """A text without its mark, and the class that the mark stands for."""
    kinds = {"*": "secret", "#": "sealed"}
    return (text[1:], kinds[text[0]]) if text[:1] in kinds else (text, "plain")


def parse(source):
    """The title, the lanes, the rows and the legend of the text."""
    title, lanes, rows, legend = "", {}, [], []
    for number, line in enumerate(source.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        head, *fields = (field.strip() for field in line.split(" : "))
        match head.split():
            case ["title", *_]:
                title = line.removeprefix("title").strip()
            case ["lane", name] if len(fields) == 2:
                lanes[name] = (len(lanes), *fields)
            case ["flow", _] if len(fields) == 2:
                rows.append(("flow", *fields))
            case ["at", lane] if lane in lanes and fields:
                rows.append(("at", lane, fields))
            case ["legend", mark] if len(fields) >= 1:
                legend.append((mark, " : ".join(fields)))
            case [start, ">", end] if {start, end} <= lanes.keys() and 1 <= len(fields) <= 2:
                rows.append(("call", start, end, fields))
            case _:
                raise Fault(f"line {number}: cannot be read: {line}")
    return title, lanes, rows, legend


class Picture:
    """The elements drawn so far, from top to bottom."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.bands, self.under, self.over = [], [], []
        self.width = 2 * EDGE + LANE * (len(lanes) - 1)
        self.y = 0
        self.number = 0

    def x(self, lane):
        """The middle of a lane."""
        return EDGE + LANE * self.lanes[lane][0]

    def text(self, x, y, text, size, kind, anchor="middle", room=None, also=""):
        """A line of text; a fault when it is wider than its room."""
        if room is not None and width(text, size) > room:
            raise Fault(f"{text!r} takes {width(text, size):.0f} pixels, and there are {room}")
        self.over.append(
            f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" class="{kind}"{also}>'
            f"{escape(text)}</text>"
        )

    def heads(self):
        """Whom the lanes stand for."""
        for name, (_, title, subtitle) in self.lanes.items():
            left = self.x(name) - BOX // 2
            kind = "head" if name in OTHERS else "own"
            self.over.append(f'<rect x="{left}" y="{HEAD}" width="{BOX}" height="52" rx="9" class="{kind}"/>')
            self.text(self.x(name), HEAD + 23, title, 15, "ink", room=BOX - 8, also=' font-weight="650"')
            self.text(self.x(name), HEAD + 40, subtitle, 11.5, "dim", room=BOX - 6)
        self.y = HEAD + 52

    def flow(self, title, subtitle):
        """The start of a flow: its name, on a band that holds its rows."""
        self.y += 22
        self.band = self.y
        self.number = 0
        self.text(34, self.y + 26, title, 16, "ink", "start", also=' font-weight="650"')
        after = 34 + width(title, 16) * 1.15 + 14
        self.patch(34, self.y + 26, after + width(subtitle, 12.5) - 34)
        self.text(f"{after:.0f}", self.y + 26, subtitle, 12.5, "dim", "start", room=self.width - after - 30)
        self.y += 34

    def end_of_flow(self):
        """Draws the band under the rows that were drawn."""
        self.y += 16
        self.bands.append(
            f'<rect x="16" y="{self.band}" width="{self.width - 32}" '
            f'height="{self.y - self.band}" rx="11" class="band"/>'
        )

    def call(self, start, end, fields):
        """A request, and its answer below it when that tells something."""
        self.number += 1
        x, to = self.x(start), self.x(end)
        step = 1 if to > x else -1
        room = abs(to - x) - 36
        self.y += 31
        y = self.y
        self.over.append(f'<circle cx="{x}" cy="{y}" r="9" class="num"/>')
        self.text(x, y + 3.8, str(self.number), 10.5, "digit", also=' fill="#fff" font-weight="650"')
        text, kind = marked(fields[0])
        self.arrow(x + 11 * step, to - 2 * step, y, kind)
        self.label(x + 18 * step, y - 6, text, kind, step, room)
        if len(fields) == 2:
            text, kind = marked(fields[1])
            self.arrow(to - 2 * step, x + 11 * step, y + 6, kind, ' stroke-dasharray="5 3"')
            self.label(to - 12 * step, y + 19, text, kind, -step, room)
            self.y += 20

    def arrow(self, x, to, y, kind, also=""):
        """A line with a tip at its end."""
        step = 1 if to > x else -1
        self.over.append(f'<path d="M{x} {y}H{to - 6 * step}" class="line {kind}"{also}/>')
        self.over.append(f'<path d="M{to} {y}l{-8 * step} -4v8z" class="tip {kind}"/>')

    def label(self, x, y, text, kind, step, room):
        """A text beside an arrow, at its start, on a patch that keeps the lanes' lines out of it."""
        anchor = "start" if step > 0 else "end"
        wide = width(text, 12.5) + 6
        self.patch(x - 4 if step > 0 else x + 4 - wide, y, wide)
        self.text(x, y, text, 12.5, f"t-{kind}", anchor, room)

    def patch(self, left, y, wide):
        """Keeps the lanes' lines out of a text that stands on `y`."""
        self.under.append(
            f'<rect x="{round(left)}" y="{y - 11}" width="{round(wide)}" height="14" class="band"/>'
        )

    def note(self, lane, lines):
        """Something that happens in one place."""
        self.y += 16
        height = 12 + 16 * len(lines)
        left = self.x(lane) - NOTE // 2
        self.over.append(
            f'<rect x="{left}" y="{self.y}" width="{NOTE}" height="{height}" rx="7" class="note"/>'
        )
        for at, line in enumerate(lines):
            text, kind = marked(line)
            self.text(self.x(lane), self.y + 18 + 16 * at, text, 12.5, f"t-{kind}", room=NOTE - 4)
        self.y += height - 3

    def legend(self, entries):
        """What the colors mean."""
        x = 34
        self.y += 26
        for mark, text in entries:
            kind = marked(mark)[1]
            self.over.append(f'<path d="M{x} {self.y - 4}h26" class="line {kind}" style="stroke-width:3"/>')
            self.text(x + 34, self.y, text, 12, "dim", "start")
            x += 34 + round(width(text, 12)) + 22
        if x > self.width:
            raise Fault("the legend is too long")
        self.y += 18

    def svg(self, title):
        """The whole picture."""
        lives = [f'<path d="M{self.x(name)} {HEAD + 52}V{self.y - 52}" class="life"/>' for name in self.lanes]
        card = f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.y - 1}" rx="14" class="card"/>'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.y}" '
                f'width="{self.width}" height="{self.y}" role="img" aria-labelledby="title">',
                f'<title id="title">{escape(title)}</title>',
                f"<style>{STYLE}</style>",
                card,
                *self.bands,
                *lives,
                *self.under,
                *self.over,
                "</svg>\n",
            ]
        )


def draw(source):
    """The picture's text."""
    title, lanes, rows, legend = parse(source)
    picture = Picture(lanes)
    picture.heads()
    in_flow = False
    for kind, *row in rows:
        if kind == "flow":
            if in_flow:
                picture.end_of_flow()
            in_flow = True
            picture.flow(*row)
        elif kind == "at":
            picture.note(*row)
        else:
            picture.call(*row)
    picture.end_of_flow()
    picture.legend(legend)
    return picture.svg(title)


def main(arguments):
    """Draws, or checks; 1 when the picture is stale or the text cannot be drawn."""
    faults = 0
    for source in SOURCES:
        picture = source.with_suffix(".svg")
        try:
            drawn = draw(source.read_text(encoding="utf-8"))
        except Fault as fault:
            print(f"docs/flows.py: {source.name}: {fault}", file=sys.stderr)
            faults += 1
            continue
        if arguments != ["--check"]:
            picture.write_text(drawn, encoding="utf-8")
        elif not picture.is_file() or picture.read_text(encoding="utf-8") != drawn:
            print(
                f"{picture.name} is not what {source.name} says: run python3 docs/flows.py", file=sys.stderr
            )
            faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
