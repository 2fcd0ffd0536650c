"""The commands that a page shows.

    blocks.py PAGE [MARK]

prints the ```sh blocks of a page as one script; with MARK only those that stand below <!-- run: MARK -->.
"""

import dataclasses
import pathlib
import re
import sys

# Pages whose commands tests/integration/test_docs.py runs, all of them in their order, except those that a mark excepts:
# <!-- not run: why -->, <!-- run: package test --> (tests/package), <!-- run: until it is stopped -->, <!-- run: after SET-UP -->, which
# is a method of that test.  Below <!-- output --> stands what the block before prints, three dots for anything.
RUN_HERE = ["README.md", "docs/guide.md"]

_FENCE = re.compile(r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.S | re.M)


@dataclasses.dataclass
class Block:
    page: str
    line: int
    language: str
    mark: str  # what the comment above says, "" without
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(path, name=None):
    """All fenced blocks of a page, in order."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    return [Block(name or str(path), text.count("\n", 0, found.start()) + 1, found["language"], found["mark"] or "", found["text"])
            for found in _FENCE.finditer(text)]


if __name__ == "__main__":
    wanted = f"run: {sys.argv[2]}" if len(sys.argv) > 2 else None
    chosen = [block for block in blocks(sys.argv[1]) if block.language == "sh" and wanted in (None, block.mark)]
    if not chosen:
        sys.exit(f"{sys.argv[1]}: no block is marked <!-- {wanted} -->")
    for block in chosen:
        print(f": '{block}'\n{block.text}")
