#!/usr/bin/env bash
# Python files compile, and import nothing that they do not use.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck disable=SC2046
/usr/bin/python3 - $(files '*.py') <<'PYTHON'
import ast, pathlib, sys

bad = 0
for name in sys.argv[1:]:
    tree = ast.parse(pathlib.Path(name).read_text(), name)
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for one in node.names:
                imported[(one.asname or one.name).split(".")[0]] = node.lineno
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    listed = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for one, line in imported.items():
        if one not in used and one not in listed:
            print(f"{name}:{line}: {one} is imported and not used")
            bad = 1
sys.exit(bad)
PYTHON
