"""Makes the reference pages; run by scripts/make_reference.sh.

    pages.py CODE.json CATALOGUE.json [--check]
"""

import difflib
import json
import pathlib
import posixpath
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MADE = "<!-- made by scripts/make_reference.sh: edit what it is made from -->\n\n"

# What the figures below $SYS/broker/ota/ count.  A name that the code has and this list has not stops everything.
FIGURES = {
    "reports/received": "reports of devices taken",
    "reports/malformed": "reports that were none",
    "reports/refused": "reports refused because the outbox was full",
    "reports/limited": "reports refused because the device sends too many, see `reports_per_minute`",
    "denied": "attempts refused, see `ota.denied`",
    "notices/sent": "notices given to devices",
    "recalls/sent": "recalls given to devices",
    "undelivered": "notices that could not be given and went back",
    "events/lost": "records that did not reach the outbox",
    "blocks/sent": "blocks of images given to devices (`firmware_directory`)",
    "blocks/bytes": "bytes in them",
    "devices/connected": "devices with a session on this broker",
    "devices/listening": "... that a notice would reach",
    "database": "JSON: `state` (`connected`, `away`, or `busy` while a stage of many devices opens), `since`, and `backlog`, the events that wait in the outbox; told every 10 s and when the state changes",
    "audit": "where the chains of the audit log end, as JSON, once a minute; see [audit.md](../design/audit.md)",
}


class Missing(Exception):
    pass


def cell(text):
    return (text or "").replace("|", "\\|").replace("\n", " ")


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(cell(one) for one in row)} |" for row in rows]) + "\n"


def sentence(text):
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


# --- SQL

def needs_comment(catalogue):
    """Whatever has no COMMENT: an operator's \\d+ and \\df+ would say nothing."""
    for relation in catalogue["relations"]:
        if not relation["comment"]:
            yield f"{relation['kind']} ota.{relation['name']}"
        for column in relation["columns"]:
            if not column["comment"]:
                yield f"column ota.{relation['name']}.{column['name']}"
    for function in catalogue["functions"]:
        if not function["comment"]:
            yield f"function ota.{function['name']}({function['arguments']})"


def sql_page(catalogue):
    functions = [one for one in catalogue["functions"] if not one["trigger"]]
    text = ("# SQL: functions, views, tables\n\n" + MADE + "Schema `ota`. In psql `\\df+ ota.*` and `\\d+ ota.rollout` say the same.\n\n"
            "## Functions for operators\n\nFor members of `ota_operator`. A bad argument changes nothing and gives an error that says what is "
            "accepted.\n\n")
    for one in functions:
        if one["operator"]:
            text += f"### `{one['name']}`\n\n```\nota.{one['name']}({one['arguments']})\n    returns {one['result']}\n```\n\n{sentence(one['comment'])}\n\n"
    for kind, title in (("view", "Views"), ("table", "Tables")):
        text += f"## {title}\n\n" + ("Functions write them, nobody else does. `*`: never null.\n\n" if kind == "table" else "")
        for relation in catalogue["relations"]:
            if relation["kind"] == kind:
                rows = [(f"`{c['name']}`", f"{c['type']}{' *' if kind == 'table' and c['required'] else ''}", c["comment"])
                        for c in relation["columns"]]
                text += f"### `ota.{relation['name']}`\n\n{sentence(relation['comment'])}\n\n{table(('column', 'type', 'meaning'), rows)}\n"
    text += "## Functions that the plugin calls\n\nFor members of `ota_plugin`; they change from version to version.\n\n"
    text += table(("function", "does"), [(f"`{one['name']}`", one["comment"]) for one in functions
                                         if one["plugin"] and not one["operator"]])
    text += "\n## Functions behind the others\n\n"
    text += table(("function", "does"), [(f"`{one['name']}`", one["comment"]) for one in functions
                                         if not one["plugin"] and not one["operator"]])
    return text


# --- options, topics, control

def option_row(option):
    fallback = "*required*" if option["required"] else f"`{option['default']}`" if option["default"] else "*(none)*"
    return f"`{option['name']}`", fallback, option["accepted"]


def options_page(code, old):
    begin = old.index("| option | default | accepted |")
    end = old.index("\n\n", begin) + 1
    for option in code["options"]:
        if option["name"] not in described_options(old):
            raise Missing(f"docs/options.md has no line that explains `{option['name']}`: - **`{option['name']}`**: ...")
    # The unit test of the page reads these rows, too.
    rows = "".join(f"| {' | '.join(option_row(option))} |\n" for option in code["options"])
    return old[:begin] + "| option | default | accepted |\n|---|---|---|\n" + rows + old[end:]


def described_options(page):
    """What docs/options.md says of each option: name to text."""
    found = re.findall(r"^- \*\*`(\w+)`\*\*: (.*?)(?=^- \*\*|^\n|\Z)", page, re.S | re.M)
    return {name: " ".join(text.split()) for name, text in found}


def figures():
    source = (ROOT / "plugin/gate/metrics.c").read_text()
    names = re.findall(r'^\t\t\{ "([a-z_/]+)",', source, re.M)
    for path in sorted((ROOT / "plugin").rglob("*.c")):
        names += re.findall(r'metrics_publish(?:_number)?\(\s*"([a-z_/]+)"', path.read_text())
    for name in names:
        if name not in FIGURES:
            raise Missing(f"tests/reference/pages.py has no words for the figure $SYS/broker/ota/{name}: add them to FIGURES")
    return names


def topics_page(code):
    defaults = {option["name"]: option["default"] for option in code["options"]}
    rows = [(f"`{defaults['status_topic']}`", "device", "plugin", "reports; option `status_topic`")]
    rows += [(f"`{topic}`", "plugin", "one device", "notices and recalls; option `notify_topics`") for topic in defaults["notify_topics"].split()]
    rows += [(f"`{code['control_topic']}`", "operators", "plugin", "commands, see [control.md](control.md); option `control_users`"),
             (f"`{code['control_response_topic']}`", "plugin", "who asked", "answers")]
    text = ("# Topics\n\n" + MADE + "Payloads are in [protocol.md](../protocol.md). Nobody but the plugin can publish where it does.\n\n"
            + table(("topic", "from", "to", "what"), rows)
            + "\n## Figures for dashboards\n\nRetained, below `$SYS/broker/ota/`, every ten seconds when they have changed; counts begin with the broker.\n\n"
            + table(("topic", "what"), [(f"`{name}`", FIGURES[name]) for name in figures()]
                    + [("`rollout/<number>`", "a rollout as JSON, with the members of the view `ota.rollout_progress`; the last one says how it ended, and is taken away where it was of a single device")]))
    return text


def comment_of(command, catalogue):
    """Of the functions with the command's name the fullest that begins with its first member."""
    first = command["members"][0]["name"] + " " if command["members"] else ""
    named = [one for one in catalogue["functions"] if one["name"] == command["function"] and one["arguments"].startswith(first)]
    return max(named, key=lambda one: len(one["arguments"]))["comment"]


def control_page(code, catalogue):
    text = ("# Commands of the control topic\n\n" + MADE + f"Published to `{code['control_topic']}`, answered on `{code['control_response_topic']}`; the shape of "
            "both is in [cli.md](../cli.md#without-the-program). Members in bold are needed.\n\n")
    rows = []
    for one in code["commands"]:
        members = ", ".join(f"**`{m['name']}`** {m['sql']}" if m["required"] else f"`{m['name']}` {m['sql']}" for m in one["members"])
        what = sentence(comment_of(one, catalogue)) if one.get("function") else "Reads."
        rows.append((f"`{one['name']}`", members or "none", what + (f" Answers `{one['result']}`." if one.get("result") else "")))
    return text + table(("command", "members", "does"), rows)


# --- the command line

def usage(verb):
    words = " ".join(filter(None, (verb["group"], verb["name"])))
    for one in verb["arguments"]:
        if one["positional"]:
            words += f" <{one['name'][2:]}>" if one["required"] else f" [{one['name'][2:]}]"
    return words


def commands_page(code):
    text = ("# Commands of mosquitto_ota\n\n" + MADE + "What `mosquitto_ota <command> --help` says. Every argument in angle brackets may also be given as an option of its "
            "name; how to use them is in [cli.md](../cli.md).\n\n")
    for verb in code["verbs"]:
        text += f"## `{usage(verb)}`\n\n{sentence(verb['summary'])}\n\n"
        if verb["arguments"]:
            text += table(("argument", "meaning"), [(f"`{one['name']}`", one["help"] + (" (required)" if one["required"] else ""))
                                                    for one in verb["arguments"]]) + "\n"
        text += f"```\nmosquitto_ota {verb['example']}\n```\n\n"
    return text + "## Connection options\n\n```\n" + code["connection_help"].split("\n", 1)[1] + "```\n"


# --- man pages (mdoc)

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in ".'" else text


def man_commands(code):
    lines = [".Bl -tag -width indent"]
    for verb in code["verbs"]:
        words = " ".join(filter(None, (verb["group"], verb["name"])))
        places = [f"Ar {one['name'][2:]}" if one["required"] else f"Op Ar {one['name'][2:]}" for one in verb["arguments"] if one["positional"]]
        lines.append(" ".join([f".It Cm {words}", *places]))
        lines.append(roff(sentence(verb["summary"])))
        if verb["arguments"]:
            lines.append('.Bl -tag -width "--download-timeout" -compact')
            for one in verb["arguments"]:
                lines += [f".It Fl \\-{one['name'][2:].replace('-', chr(92) + '-')}",
                          roff(one["help"] + (" (required)" if one["required"] and not one["positional"] else ""))]
            lines.append(".El")
    return "\n".join([*lines, ".El"]) + "\n"


def man_connection(code):
    rows = code["connection_help"].split("\n", 1)[1].rstrip("\n").split("\n")
    return ".Bd -literal\n" + "\n".join(roff(row) for row in rows) + "\n.Ed\n"


def plain(text):
    """Without the marks of Markdown: a link is the page that is installed with the package, a name stands in quotation marks."""
    def named(link):
        page = posixpath.normpath(f"docs/{link[2]}")
        return page if link[1] == link[2] else f"{link[1]} ({page})"

    return re.sub(r"\[([^\]]+)\]\(([^)#]+)[^)]*\)", named, text).replace("`", '"')


def man_options(code, options_text):
    words = described_options(options_text)
    lines = [".Bl -tag -width indent"]
    for option in code["options"]:
        fallback = "required" if option["required"] else option["default"] or "none"
        lines += [f".It Cm plugin_opt_{option['name']}", roff(f"Accepted: {option['accepted']}."), roff(f"Default: {fallback}.")]
        if option["name"] in words:
            lines.append(roff(sentence(plain(words[option["name"]]))))
    return "\n".join([*lines, ".El"]) + "\n"


def between(page, mark, text):
    pattern = re.compile(rf'(\.\\" made from the code: {mark}\n).*?(\.\\" end: {mark}\n)', re.S)
    if not pattern.search(page):
        raise Missing(f'a man page has lost the lines ".\\" made from the code: {mark}" and ".\\" end: {mark}"')
    return pattern.sub(lambda found: found[1] + text + found[2], page)


def pages(code, catalogue):
    """Path to text."""
    def read(name):
        return (ROOT / name).read_text(encoding="utf-8")

    options = options_page(code, read("docs/options.md"))
    yield "docs/options.md", options
    yield "docs/reference/commands.md", commands_page(code)
    yield "docs/reference/control.md", control_page(code, catalogue)
    yield "docs/reference/sql.md", sql_page(catalogue)
    yield "docs/reference/topics.md", topics_page(code)
    man = between(read("plugin/ctl/mosquitto_ota.1"), "commands", man_commands(code))
    yield "plugin/ctl/mosquitto_ota.1", between(man, "connection options", man_connection(code))
    yield "plugin/mosquitto_ota.7", between(read("plugin/mosquitto_ota.7"), "options", man_options(code, options))


def main(code_path, catalogue_path, check=None):
    code = json.loads(pathlib.Path(code_path).read_text())
    catalogue = json.loads(pathlib.Path(catalogue_path).read_text())
    silent = list(needs_comment(catalogue))
    if silent:
        print("without a COMMENT (say what it is for where it is made, or in sql/views/table_comments.sql):")
        print("".join(f"  {one}\n" for one in silent), end="")
        return 1
    stale = False
    for name, text in pages(code, catalogue):
        path = ROOT / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        if check:
            stale = True
            print("\n".join(list(difflib.unified_diff(old.splitlines(), text.splitlines(), f"{name} (now)", f"{name} (from the code)",
                                                      lineterm="", n=0))[:20]))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{name} is made anew")
    if stale:
        print("the reference is not what the code gives: run scripts/make_reference.sh and commit what it changes")
    return 1 if stale else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Missing as error:
        sys.exit(str(error))
