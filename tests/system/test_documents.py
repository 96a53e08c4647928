"""The documents say what is: every command line, option and link in them exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from railwatch.cli import app

FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def documents(repository: Path) -> list[Path]:
    found = sorted(
        [*repository.glob("*.md"), *repository.glob("docs/**/*.md"), *repository.glob("[a-z]*/*.md")]
    )
    return [path for path in dict.fromkeys(found) if not path.is_relative_to(repository / ".venv")]


def command_lines(text: str, program: str) -> list[str]:
    """The lines that call a program, in code blocks and inline."""
    blocks = [line for block in FENCED.findall(text) for line in block.splitlines()]
    candidates = [*blocks, *INDENTED.findall(text), *INLINE.findall(text)]
    lines = [re.sub(r"\s+#.*$", "", line).removeprefix("$ ").strip() for line in candidates]
    return [line for line in lines if line.startswith(f"{program} ")]


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words call, and what is left of them."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_every_command_line_in_the_documents_exists(repository):
    faults = []
    seen = 0
    for path in documents(repository):
        if path.name == "CHANGELOG.md":
            continue  # tells of the past
        for line in command_lines(path.read_text(encoding="utf-8"), "railwatch"):
            seen += 1
            words = shlex.split(line.replace("...", ""))[1:]
            try:
                command, rest = resolve(words)
            except AssertionError as error:
                faults.append(f"{path.relative_to(repository)}: {line}: {error}")
                continue
            known = {option for each in command.params for option in each.opts}
            known |= {"--help", "-h", "--quiet", "-q", "-v", "-vv", "--verbose", "--debug"}
            given = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
            faults += [
                f"{path.relative_to(repository)}: {line}: no option {each}"
                for each in given
                if each not in known
            ]
    assert seen > 10
    assert not faults, "\n".join(faults)


def test_every_link_in_the_documents_leads_somewhere(repository):
    faults = [
        f"{path.relative_to(repository)}: {target}"
        for path in documents(repository)
        for target, _ in LINK.findall(path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not faults, "\n".join(faults)


def test_the_figures_in_the_readme_are_those_of_the_card(repository):
    card = json.loads((repository / "detector" / "weights" / "wagon.json").read_text(encoding="utf-8"))
    simulated, real = card["figures"]["simulated_test"], card["figures"]["real_images_without_rim"]
    readme = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    assert f"finds {simulated['recall_0.3']:.0%} of the wagons" in readme
    assert f"{simulated['precision_0.3']:.0%} of its boxes are right" in readme
    assert f"{real['recall_0.3']:.0%} and {real['precision_0.3']:.0%}, with" in readme
    assert f"with {real['false_per_empty_km2']:.0f} false boxes on each km²" in readme


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_in_the_documents_exists(repository, name):
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    wanted = {
        word
        for line in command_lines((repository / name).read_text(encoding="utf-8"), "make")
        for word in line.split()[1:]
        if re.fullmatch(r"[a-z]+", word)
    }
    assert "test" in wanted
    assert wanted <= targets
