#!/usr/bin/env python3
"""Converts the output of `tmux capture-pane -p -e` (standard input) to an SVG image (standard output).

Uses only the standard library. Box-drawing and block characters are drawn as shapes, so that they join
in any font; all other text is stretched to the width of its cells.
"""

import argparse
import re
import sys
import unicodedata
from dataclasses import dataclass, replace
from html import escape

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 18, 14, 14
FOREGROUND, BACKGROUND = "#d8dee9", "#14171c"
# The 16 ANSI colours: normal, then bright.
PALETTE = (
    "#3b4252 #e06c75 #8fbf7f #e5c07b #61afef #c678dd #56b6c2 #c8ccd4 "
    "#6b7385 #f28b93 #a9d69a #f0d399 #8cc8ff #d99bea #7fd0da #ffffff"
).split()

# The directions of a box-drawing character's lines: up, right, down, left.
LINES = {
    "─": "rl", "│": "ud", "┌": "rd", "┐": "dl", "└": "ur", "┘": "ul", "├": "urd", "┤": "udl",
    "┬": "rdl", "┴": "url", "┼": "urdl", "╴": "l", "╵": "u", "╶": "r", "╷": "d",
}
CORNERS = {"╭": "rd", "╮": "dl", "╰": "ur", "╯": "ul"}
# The part of the cell that a block character fills: left, top, width, height.
BLOCKS = {
    "█": (0, 0, 1, 1), "▀": (0, 0, 1, 0.5), "▄": (0, 0.5, 1, 0.5), "▌": (0, 0, 0.5, 1),
    "▐": (0.5, 0, 0.5, 1), "▎": (0, 0, 0.25, 1), "▏": (0, 0, 0.125, 1), "▕": (0.875, 0, 0.125, 1),
}
SEQUENCE = re.compile(r"\x1b\[([0-9;:]*)m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|[\x0e\x0f]")
WAYS = {"u": (0, -0.5), "r": (0.5, 0), "d": (0, 0.5), "l": (-0.5, 0)}


@dataclass(frozen=True)
class Style:
    """The style of a cell."""

    fg: str = ""
    bg: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    reverse: bool = False

    def colours(self):
        fg, bg = self.fg or FOREGROUND, self.bg
        return (bg or BACKGROUND, fg) if self.reverse else (fg, bg)


@dataclass
class Cell:
    """One character with its combining characters, and its width in cells."""

    text: str
    width: int
    style: Style


SWITCHES = {
    1: {"bold": True}, 2: {"dim": True}, 3: {"italic": True}, 4: {"underline": True},
    7: {"reverse": True}, 9: {"strike": True}, 22: {"bold": False, "dim": False},
    23: {"italic": False}, 24: {"underline": False}, 27: {"reverse": False}, 29: {"strike": False},
    39: {"fg": ""}, 49: {"bg": ""},
}


def indexed(number):
    """Returns colour `number` of the 256-colour palette."""
    if number < 16:
        return PALETTE[number]
    if number >= 232:
        return "#" + f"{8 + (number - 232) * 10:02x}" * 3
    number -= 16
    parts = (number // 36, number // 6 % 6, number % 6)
    return "#" + "".join(f"{55 + part * 40 if part else 0:02x}" for part in parts)


def styled(style, parameters):
    """Returns the style after one SGR sequence."""
    codes = [int(code or 0) for code in parameters.replace(":", ";").split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style = Style()
        elif code in SWITCHES:
            style = replace(style, **SWITCHES[code])
        elif code in (38, 48):
            kind = codes.pop(0) if codes else 0
            count = {5: 1, 2: 3}.get(kind, 0)
            values, codes = codes[:count], codes[count:]
            if kind == 5 and values:
                colour = indexed(values[0])
            else:
                colour = "#" + "".join(f"{value:02x}" for value in values)
            style = replace(style, **{"fg" if code == 38 else "bg": colour})
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, fg=PALETTE[code - 30 if code < 90 else code - 82])
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = replace(style, bg=PALETTE[code - 40 if code < 100 else code - 92])
    return style


def width_of(character):
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def rows_of(text):
    """Parses the text into rows of cells."""
    style, rows = Style(), []
    for line in text.rstrip("\n").split("\n"):
        cells, at = [], 0
        while at < len(line):
            if match := SEQUENCE.match(line, at):
                if match[1] is not None:
                    style = styled(style, match[1])
                at = match.end()
                continue
            character, at = line[at], at + 1
            width = width_of(character)
            joined = cells and (width == 0 or cells[-1].text.endswith("\u200d"))
            if joined:
                cells[-1].text += character
                if character == "\ufe0f":
                    cells[-1].width = 2
            elif character >= " ":
                cells.append(Cell(character, max(width, 1), style))
        rows.append(cells)
    return rows


def shape(cell, x, y, colour):
    """Returns a box-drawing or block character as a shape, or an empty string for other text."""
    character = cell.text
    middle_x, middle_y = x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2
    if character in BLOCKS:
        left, top, width, height = BLOCKS[character]
        return (
            f'<rect x="{x + left * CELL_WIDTH:g}" y="{y + top * CELL_HEIGHT:g}" '
            f'width="{width * CELL_WIDTH:g}" height="{height * CELL_HEIGHT:g}" fill="{colour}"/>'
        )
    ends = [
        (middle_x + WAYS[way][0] * CELL_WIDTH, middle_y + WAYS[way][1] * CELL_HEIGHT)
        for way in LINES.get(character) or CORNERS.get(character, "")
    ]
    if not ends:
        return ""
    if character in CORNERS:
        (x1, y1), (x2, y2) = ends
        path = f"M{x1:g} {y1:g}Q{middle_x:g} {middle_y:g} {x2:g} {y2:g}"
    else:
        path = "".join(f"M{middle_x:g} {middle_y:g}L{x1:g} {y1:g}" for x1, y1 in ends)
    return f'<path d="{path}" stroke="{colour}" fill="none"/>'


def text_run(cells, x, y):
    """Returns cells of one style as one text element."""
    style = cells[0].style
    text = "".join(cell.text for cell in cells)
    if not text.strip():
        return ""
    attributes = [f'fill="{style.colours()[0]}"']
    if style.bold:
        attributes.append('font-weight="bold"')
    if style.italic:
        attributes.append('font-style="italic"')
    if style.dim:
        attributes.append('opacity="0.65"')
    lines = [name for name, on in (("underline", style.underline), ("line-through", style.strike)) if on]
    if lines:
        attributes.append(f'text-decoration="{" ".join(lines)}"')
    width = sum(cell.width for cell in cells) * CELL_WIDTH
    baseline = y + CELL_HEIGHT * 0.73
    return (
        f'<text x="{x:g}" y="{baseline:g}" textLength="{width:g}" lengthAdjust="spacingAndGlyphs" '
        f'{" ".join(attributes)}>{escape(text)}</text>'
    )


def row_shapes(cells, y):
    """Returns the shapes of a row: first the backgrounds, then the contents."""
    backgrounds, shapes, run = [], [], []
    x = run_x = MARGIN

    def end_run():
        if run:
            shapes.append(text_run(run, run_x, y))
            run.clear()

    for cell in cells:
        fg, bg = cell.style.colours()
        if bg:
            backgrounds.append(
                f'<rect x="{x:g}" y="{y:g}" width="{cell.width * CELL_WIDTH + 0.4:g}" '
                f'height="{CELL_HEIGHT + 0.4:g}" fill="{bg}"/>'
            )
        drawn = shape(cell, x, y, fg)
        # A wide character gets its own run: fonts differ most in their width.
        if drawn or cell.width == 2 or (run and (run[0].style != cell.style or run[0].width == 2)):
            end_run()
        if drawn:
            shapes.append(drawn)
        else:
            if not run:
                run_x = x
            run.append(cell)
        x += cell.width * CELL_WIDTH
    end_run()
    return [part for part in backgrounds + shapes if part]


def svg(text, columns, title):
    rows = rows_of(text)
    columns = columns or max(sum(cell.width for cell in row) for row in rows)
    width = columns * CELL_WIDTH + 2 * MARGIN
    height = len(rows) * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'role="img" font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" '
        f'font-size="{FONT_SIZE}" xml:space="preserve">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="9" fill="{BACKGROUND}"/>',
    ]
    for number, row in enumerate(rows):
        parts += row_shapes(row, MARGIN + number * CELL_HEIGHT)
    return "\n".join([*parts, "</svg>", ""])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--columns", type=int, default=0, help="width of the screen in cells (default: the longest row)")
    arguments.add_argument("--title", default="a terminal", help="title of the image, for screen readers")
    given = arguments.parse_args()
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(svg(sys.stdin.read(), given.columns, given.title))


if __name__ == "__main__":
    main()
