"""What the README shows must run as it stands."""

import re
import shlex
from pathlib import Path

from disentlib.experiments import cli, notebooks, parameters

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_python_examples_run(capsys):
    examples = blocks("python")
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})
    assert "737280" in capsys.readouterr().out


def test_commands_name_real_targets_and_parameters():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [line.partition("#")[0] for block in blocks("bash") for line in block.splitlines()]
    checked = 0
    for words in filter(None, map(shlex.split, lines)):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), words
            checked += 1
        if words[0] == "papermill":
            source = ROOT / words[1]
            known = parameters.notebook_parameters(source)
            pairs = [words[i + 1 : i + 3] for i, word in enumerate(words) if word == "-p"]
            given = {name: notebooks.parse_value(text, known.get(name)) for name, text in pairs}
            assert parameters.resolve(source.stem, known, given)["profile"] == given["profile"]
            checked += 1
    assert checked >= 5


def test_the_cluster_example_is_short_and_python():
    (example,) = blocks("py")
    compile(example, "README.md", "exec")
    assert len([line for line in example.splitlines() if line.strip()]) <= 5


def test_study_lines_are_accepted_by_the_command_line(capsys):
    text = "\n".join(blocks("bash") + blocks("py"))
    lines = re.findall(r"python -m disentlib (study .*)", text)
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line.replace("tcp://…", "tcp://127.0.0.1:8786").partition("#")[0])
        options = cli._parser().parse_args(words)
        if words[1] in ("list", "show"):
            assert options.do(options) == 0
    assert "run 17 of table1" in capsys.readouterr().out


def test_make_run_line_is_accepted_by_the_command_line():
    options = cli._parser().parse_args(["run", "beta_gvae", "--profile", "laptop", "-p", "seed", "3"])
    _, given = cli._asked(options)
    assert given == {"seed": 3, "profile": "laptop"}
