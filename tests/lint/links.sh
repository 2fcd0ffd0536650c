#!/usr/bin/env bash
# Every link of a page to another page, a heading or a file leads there.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck disable=SC2046
/usr/bin/python3 - $(files '*.md') <<'PYTHON' | nothing_of "links that lead nowhere"
import pathlib
import re
import sys

FENCE = re.compile(r"^[ \t]*```.*?^[ \t]*```$", re.S | re.M)


def anchors(text):
    """The names that a forge gives the headings of a page."""
    names = set()
    for heading in re.findall(r"^#{1,6} +(.*)$", FENCE.sub("", text), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        first = name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 0
        while name in names:
            count += 1
            name = f"{first}-{count}"
        names.add(name)
    return names


for page in map(pathlib.Path, sys.argv[1:]):
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(<?([^)\s>]+)", prose):
        if re.match(r"[a-z]+:", target):
            continue  # the lint does not leave this machine
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            print(f"{page}: {target}: there is no such file")
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text(encoding="utf-8"))):
            print(f"{page}: {target}: {file} has no such heading")
PYTHON
