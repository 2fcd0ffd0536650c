#!/usr/bin/env bash
# Every command that a page shows is run by a test, or the page says why not.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck disable=SC2046
/usr/bin/python3 - $(files '*.md') <<'PYTHON' | nothing_of "commands that no test runs (a page of RUN_HERE in tests/docs/blocks.py is run by tests/integration/test_docs.py; else write <!-- run: by which test --> or <!-- not run: why --> above)"
import sys

sys.path.insert(0, "tests/docs")
from blocks import RUN_HERE, blocks

for page in sys.argv[1:]:
    for block in blocks(page):
        if block.language in ("sh", "bash", "shell", "sql", "console") and page not in RUN_HERE and not block.mark.startswith(("run", "not run: ")):
            print(block)
        if block.language in ("bash", "shell", "console"):
            print(f"{block}: the language is called sh here")
PYTHON
