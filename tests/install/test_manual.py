"""The manual pages: whole, without faults, and of this version."""

import re
import shutil
import subprocess

import man
from installed import HEADERS, alike, api
from support import BINARY, Skip, command, equal, host, run

OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


def commands():
    """The commands that `interlace --help` lists."""
    listed = host("--help").expect(0).out.partition("Commands:\n")[2].partition("\n\n")[0]
    names = re.findall(r"^  (\w+)", listed, re.M)
    assert "run" in names and "pipe" in names, listed
    return names


def test_pages_have_no_faults():
    """mandoc's opinion."""
    if shutil.which("mandoc") is None:
        raise Skip("no mandoc here")
    for section in man.SECTIONS:
        ended = command("mandoc", "-T", "lint", "-W", "warning", str(man.page(section)))
        equal((ended.out, ended.err, ended.code), ("", "", 0))


def test_every_command_has_its_section_and_options():
    """interlace(1) names each option that --help lists, and no other."""
    for name in commands():
        shown = host(name, "--help").expect(0).out
        listed = shown.partition("Options:\n")[2].partition("\n\n")[0] + shown.partition("\n\n")[0]
        wanted = set(OPTION.findall(listed))
        assert len(wanted) >= 2, shown
        said = man.options(man.part(1, f"interlace {name}"))
        of_stages = {"-n", "-m", "-c"} if name == "pipe" else set()
        equal((name, sorted(said - of_stages)), (name, sorted(wanted)))


def test_the_command_by_itself():
    """What is no command's option stands under OPTIONS; the exit statuses are those of --help."""
    shown = host("--help").expect(0).out
    named = man.options(man.part(1, "OPTIONS"))
    equal(named, {"-h", "--help", "-V", "--version"})
    for option in named:
        host(option).expect(0)
    status = shown.partition("Exit status: ")[2]
    wanted = set(re.findall(r"\b\d+\b", status))
    equal(set(re.findall(r"^\.It (\d+)$", man.part(1, "EXIT STATUS"), re.M)), wanted)


def test_every_function_is_listed_once():
    """interlace(3) has each function of the two headers, in a list, and no other."""
    found = re.search(r"^\.Sh FUNCTIONS\n(.*?)^\.Sh ", man.text(3), re.M | re.S)[1]
    inline = re.findall(r"^static inline \w+ (lace_\w+)\(", "".join(h.read_text() for h in HEADERS), re.M)
    listed = re.findall(r"^\.Fn (\w+)", found, re.M)
    alike(listed, [*api(), *inline])
    equal(len(listed), len(set(listed)))
    alike(set(re.findall(r"^\.Fn (lace_\w+)", man.text(3), re.M)) - set(listed), ())


def test_every_status_is_explained():
    """interlace(3) has each lace_status."""
    listed = HEADERS[0].read_text().partition("#define LACE_STATUS_MAP(X)")[2].partition("typedef enum")[0]
    wanted = {f"LACE_{name}" for name in re.findall(r"\bX\((\w+),", listed)} - {"LACE_OK"}
    alike(re.findall(r"^\.It Dv (LACE_\w+)", man.part(3, "ERRORS"), re.M), wanted)


def test_examples_of_the_command():
    """The pipeline that needs no file prints what its stages make."""
    shell = subprocess.list2cmdline([BINARY])
    text = man.example(1).replace("interlace pipe", f"{shell} pipe")
    command("sh", "-c", text).expect(0, "15\n", "")


def test_example_of_the_concepts():
    """The script of interlace(7) runs as it stands there."""
    run(man.example(7)).expect(0, "2450\n", "")
