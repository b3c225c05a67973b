"""What README and the documentation say: scripts run, command lines too, messages are real."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from doc_blocks import ROOT, CommandLine, blocks, command_lines, inline_commands, pages, scripts
from made_comparisons import a_comparison
from program import run_spectrum
from spectrum_ft.record_files import to_json
from spectrum_ft_cli.main import cli
from spectrum_ft_cli.talk import Talk
from tiny_models import write_tiny_llama
from train_program import Spectrum

WITH_SCRIPTS = [page for page in pages() if scripts(page)]
WITH_COMMANDS = [page for page in pages() if command_lines(page)]

MOST_EXCUSED = 6
"""How many scripts may be excused from running; raise it for a good reason only."""

NOT_HERE = {
    "owner/name": "needs the Hub",
    "--device cuda": "needs a GPU",
    "--engine ray": "has tests of its own",
    "model.gguf": "has tests of its own",
    "spectrum demo": "takes minutes: `make demo`",
    "checkpoint-": "made by another tool",
}
"""What makes a command line impossible or too long to run in a test, and why."""

RUN_ONCE = """
import json, sys
for place, text in json.load(sys.stdin):
    print(f"--- {place}", flush=True)
    exec(compile(text, place, "exec"), {"__name__": "__main__"})
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages take for granted: models, data, a scan, a plan, a run, a comparison."""
    folder = tmp_path_factory.mktemp("ground")
    write_tiny_llama(folder / "model")
    write_tiny_llama(folder / "tuned", seed=1)
    shutil.copytree(folder / "model", folder / "base")
    _write_questions(folder / "train.jsonl", range(24))
    _write_questions(folder / "test.jsonl", range(24, 29))
    for model, scan in (("model", "scan"), ("base", "before"), ("tuned", "after")):
        done = run_spectrum("scan", model, "-o", f"{scan}.json", cwd=folder)
        assert done.returncode == 0, done.stderr
    training = ("--plan", "plan.yaml", "--data", "train.jsonl", "--max-steps", "2", "-o", "run")
    for words in (("plan", "scan.json", "-o", "plan.yaml"), ("train", "model", *training)):
        done = run_spectrum(*words, cwd=folder, env={"PYTHONWARNINGS": ""})
        assert done.returncode == 0, done.stderr
    (folder / "comparison").mkdir()
    (folder / "comparison" / "comparison.json").write_text(to_json(a_comparison()), "utf-8")
    return folder


def _write_questions(path: Path, numbers: range) -> None:
    """Short questions with an answer each, no two alike, so that five fit before a sixth."""
    rows = [[("user", f"card {i}"), ("assistant", ("lost", "paid")[i % 2])] for i in numbers]
    lines = [
        json.dumps({"messages": [{"role": role, "content": said} for role, said in row]})
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", WITH_SCRIPTS)
def test_the_scripts_of_a_page_run_one_after_the_other(
    page: str, ground: Path, tmp_path: Path
) -> None:
    for name in ("model", "train.jsonl", "test.jsonl", "scan.json", "plan.yaml"):
        copy = shutil.copytree if (ground / name).is_dir() else shutil.copy
        copy(ground / name, tmp_path / name)
    told = [(block.place, block.text) for block in scripts(page) if block.excuse is None]
    ran = subprocess.run(
        [sys.executable, "-c", RUN_ONCE],
        input=json.dumps(told),
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=580,
    )
    assert ran.returncode == 0, ran.stdout[-1000:] + ran.stderr[-4000:]
    outputs = ran.stdout.split("--- ")[1:]
    assert len(outputs) == len(told)
    for losses in map(_losses, outputs):
        assert losses == sorted(losses, reverse=True)
    if page == "docs/comparing.md":
        assert "too small to decide anything" in ran.stdout


def _losses(output: str) -> list[float]:
    """The losses in lines of a step's number and its loss."""
    return [float(line.split()[1]) for line in output.splitlines() if re.match(r"\d+ \d", line)]


def test_few_scripts_are_excused_from_running_and_each_says_why() -> None:
    excused = [block for page in pages() for block in scripts(page) if block.excuse]
    assert len(excused) <= MOST_EXCUSED, [block.place for block in excused]
    assert all(len(block.excuse or "") > 10 for block in excused)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_command_lines_of_a_page_make_sense(page: str) -> None:
    for line in command_lines(page):
        for words in line.pipeline:
            try:
                parse(words)
            except click.ClickException as fault:
                pytest.fail(f"{line.place}: {line.text}: {fault.format_message()}")


@pytest.mark.parametrize("page", pages())
def test_the_commands_in_a_page_s_text_exist_and_have_these_options(page: str) -> None:
    for words in inline_commands(page):
        if words[0] == "COMMAND":
            continue
        command, rest = find_command(words)
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        used = {word.split("=")[0] for word in rest if word.startswith("-") and word != "-"}
        assert used <= known | {"-h", "--help"}, words


def find_command(words: tuple[str, ...]) -> tuple[click.Command, tuple[str, ...]]:
    """The command that `words` begin with, and the rest of them."""
    found: click.Command = cli
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        inner = found.get_command(click.Context(found), words[0])
        assert inner is not None, words
        found, words = inner, words[1:]
    return found, words


def parse(words: tuple[str, ...]) -> None:
    """Raise click's own error for an option, a value or an argument that the command refuses."""
    command, rest = find_command(words)
    context = click.Context(command, info_name=words[0], obj=Talk())
    given, left, order = command.make_parser(context).parse_args(list(rest))
    if left:
        raise click.UsageError(f"unexpected {left}")
    for parameter in order:
        # Not their callbacks: those read files that a reader has and a test of words has not.
        value = parameter.type_cast_value(context, given[parameter.name or ""])
        if parameter.required and parameter.value_is_missing(value):
            raise click.MissingParameter(ctx=context, param=parameter)
    for parameter in command.params:
        if parameter.required and parameter.name not in given:
            raise click.MissingParameter(ctx=context, param=parameter)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WITH_COMMANDS if "experiments" not in page])
def test_the_command_lines_of_a_page_run_one_after_the_other(
    page: str,
    ground: Path,
    tmp_path: Path,
    spectrum: Spectrum,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(ground, folder)
    monkeypatch.chdir(folder)
    for line in command_lines(page):
        if line.excuse is None and not any(part in line.text for part in NOT_HERE):
            run_line(line, spectrum)


@pytest.mark.slow
def test_the_output_that_the_quick_start_quotes_is_of_the_program_s_form(
    ground: Path, tmp_path: Path, spectrum: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(ground, folder)
    monkeypatch.chdir(folder)
    page, said, quoted = "docs/quick-start.md", "", 0
    for block in blocks(page):
        lines = [line for line in command_lines(page) if line.place == block.place]
        if lines:
            said = "".join(run_line(line, spectrum) for line in lines)
        elif block.language == "text":
            quoted += 1
            assert forms(block.text) <= forms(said), block.place
    assert quoted >= 5


def forms(output: str) -> set[tuple[str, int]]:
    """What each line begins with, `#` for figures, and of how many columns it is.

    Not those of a kind of matrix and of a model, which are others in a test, nor continued lines.
    """
    skipped = re.compile(r"\s|$|[.]{3}|─|.*(?:[▁▂▃▄▅▆▇█]|packaged:)")
    rows = [
        re.split(r"\s{2,}", line.rstrip())
        for line in output.splitlines()
        if not skipped.match(line)
    ]
    return {(re.sub(r"\d[\d.,]*", "#", row[0]), len(row)) for row in rows}


def run_line(line: CommandLine, spectrum: Spectrum) -> str:
    """What is said by a line that is run as it stands, but on the tiny model.

    Earlier results are replaced. A comparison trains for hours: it is only checked, as `--dry-run`
    does.
    """
    said = ""
    for name in line.folders:
        Path(name).mkdir(parents=True, exist_ok=True)
    stdin = ""
    for words in line.pipeline:
        command, _ = find_command(words)
        options = {name for p in command.params for name in p.opts}
        words = tuple(w.replace("packaged:smollm2-135m", "./model") for w in words)
        extra = [o for o in ("--force",) if o in options and o not in words]
        if words[0] == "compare":
            extra.append("--dry-run")
        if "-" in words:
            done = run_spectrum(*words, *extra, stdin=stdin.encode())
        else:
            done = spectrum(*words, *extra)
        assert done.returncode == 0, f"{line.place}: {line.text}\n{done.stderr}"
        stdin = done.stdout
        said += done.stderr + done.stdout
    if line.output is not None:
        Path(line.output).write_text(stdin, "utf-8")
    return said


# Troubleshooting


def test_every_message_of_the_troubleshooting_page_is_one_of_the_code_s() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    headings = re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    known = set(messages())
    assert len(headings) == len(set(headings)) >= 25
    strays = [h for h in headings if re.sub(r"<[^<>]+>", "…", h) not in known]
    assert not strays


def messages() -> Iterator[str]:
    """What our exceptions say, with `…` for each part that changes."""
    for root in ("spectrum_ft", "cli", "reports"):
        for path in (ROOT / root).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and node.args and _name(node).endswith("Error"):
                    yield _message(node.args[0])


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _message(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_message, parts))
    return "…"
