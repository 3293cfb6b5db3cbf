"""examples/plugin: plug-ins that call C, and what becomes of those that fail."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import readme
from program import Copy, program
from support import command, equal, folder, write

PLUGIN = readme.EXAMPLES / "plugin"


def plugins(**files):
    """A folder with these plug-ins, their sources by their names; and those of the example that do load."""
    place = folder() / "plugins"
    shutil.copytree(PLUGIN / "plugins", place)
    (place / "broken.py").unlink()
    for name, source in files.items():
        write("import mill\n\n" + source, f"{name}.py", place)
    return str(place)


def mill(place, *commands, text="", **options):
    return command(program("plugin"), place, *commands, stdin=text.encode(), cwd=PLUGIN, **options)


def test_commands():
    """One after the other, in the order in which they are named, over all lines."""
    text = "one two\n\nna\u00efve 2026-03-01"
    mill(plugins(), "upper", text=text).expect(0, "ONE TWO\n\nNA\u00cfVE 2026-03-01\n")
    mill(plugins(), "count", "dates", text=text).expect(
        0, "1: one two\n2: \n3: na\u00efve Sunday, 1 March 2026\n"
    )
    mill(plugins(), "dates", "count", "upper", "title", text="2026-03-01").expect(0, "1: Sunday, 1 March 2026\n")
    mill(plugins(), "upper", text="").expect(0, "")


def test_lines_of_any_length():
    """What a command makes of a line may be longer or shorter than that."""
    longer = "@mill.command\ndef longer(text):\n    return text * 1000\n"
    shorter = "@mill.command\ndef shorter(text):\n    return text[:1]\n"
    place = plugins(sizes=longer + shorter)
    lines = ["x" * size for size in (0, 1, 100, 10_000, 1, 0, 5000)]
    text = "\n".join(lines) + "\n"
    mill(place, "longer", text=text).expect(0, "".join(line * 1000 + "\n" for line in lines))
    mill(place, "shorter", text=text).expect(0, "".join(line[:1] + "\n" for line in lines))
    mill(place, "shorter", "longer", "shorter", text=text).expect(0, "".join(line[:1] + "\n" for line in lines))


def test_list():
    """The commands that there are, by name, with their plug-ins."""
    ended = mill(plugins(more="@mill.command\ndef again(text):\n    'Twice.'\n    return 2 * text\n")).expect(0)
    names = [line.split()[0] for line in ended.out.splitlines()]
    equal(names, ["again", "count", "dates", "title", "upper", "words"])
    assert ended.out.startswith("again    (more) Twice.\n"), ended.describe()
    mill(str(folder())).expect(0, "")


def test_log_and_print():
    """Both end up in the application's log, line by line, with the plug-in's name."""
    talk = """
@mill.command
def talk(text):
    mill.log(f"logged {text}\\nmore")
    print(f"printed {text}\\nmore", flush=True)
    return text
"""
    said = "".join(f"mill: talker: {how} {n}\nmill: talker: more\n" for n in "12" for how in ("logged", "printed"))
    mill(plugins(talker=talk), "talk", text="1\n2\n").expect(0, "1\n2\n", said)


def test_functions_in_c():
    """What they take and give, and what they raise, as in Python."""
    probe = r"""
import interlace

def error(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

@mill.command
def probe(text):
    for result in (
        mill.measure("a b\0 c\u00e9"),
        error(mill.measure, 5),
        error(mill.log),
        error(mill.log, object()),
        error(interlace.host.register, "upper", ""),
        error(interlace.host.register, "only name"),
        error(lambda: interlace.host.nothing),
        dir(interlace.host),
    ):
        mill.log(str(result))
    return text
"""
    ended = mill(plugins(probe=probe), "probe", text="x").expect(0, "x\n", None)
    equal(
        ended.err.replace("mill: probe: ", "").splitlines(),
        [
            "{'words': 3, 'bytes': 8}",
            "TypeError: measure(text) takes a str",
            "TypeError: log(text) takes a str",
            "TypeError: interlace.host.log() takes plain values: builtins.object is no plain value",
            "ValueError: there is a command 'upper' already",
            "TypeError: register(name, help) takes two str",
            "AttributeError: the application offers no function 'nothing' to Python; it offers: log, measure, register",
            "['log', 'measure', 'register']",
        ],
    )


def test_those_that_do_not_load():
    """Each is named, with its traceback, and the rest is there."""
    place = plugins(
        syntax="def f(:\n",
        raises="1 / 0\n",
        leaves="import sys\nsys.exit(3)\n",
        twice="@mill.command\ndef again(text):\n    return text\n\n@mill.command\ndef again(text):\n    return text\n",
        half="@mill.command\ndef half(text):\n    return text\n\nopen('/nowhere')\n",
    )
    ended = mill(place, "upper", "half", text="one\n").expect(1, "ONE\n", None)
    failed = re.findall(r"^mill: plug-in '(\w+)' failed, and is out:$", ended.err, re.M)
    equal(failed, ["half", "leaves", "raises", "syntax", "twice"])
    for words in (
        "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'\n",
        "SystemExit: 3\n",
        'raises.py", line 3, in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n',
        "SyntaxError: ",
        "ValueError: there is a command 'again' already\n",
        "mill: there is no command 'half'\n",
    ):
        assert words in ended.err, f"no {words!r}: {ended.describe()}"
    ended = mill(place).expect(0, None, None)
    assert "half" not in ended.out and "upper    (case)" in ended.out, ended.describe()


def test_commands_that_fail():
    """Named, with the line left as it was; the plug-in and its state go on."""
    source = """
calls = 0

@mill.command
def second(text):
    global calls
    calls += 1
    if calls == 2:
        raise KeyError(text)
    return f"{text} {calls}"

@mill.command
def number(text):
    return len(text)
"""
    ended = mill(plugins(bad=source), "second", "upper", text="a\nb\nc\n").expect(1, "A 1\nB\nC 3\n", None)
    equal(ended.err, "mill: plug-in 'bad': command 'second': KeyError: 'b'\n")
    ended = mill(plugins(bad=source), "number", "upper", text="a\n").expect(1, "A\n", None)
    equal(ended.err, "mill: plug-in 'bad': command 'number': TypeError: a command returns a str, not int\n")


def test_plug_ins_that_end():
    """In the middle of a command: it is named, its other commands are gone, and other plug-ins do not notice."""
    source = "@mill.command\ndef leave(text):\n    raise SystemExit(7)\n"
    ended = mill(plugins(leaver=source), "leave", "upper", text="a\nb\n").expect(1, "A\nB\n", None)
    assert ended.err.startswith("mill: plug-in 'leaver' failed, and is out:\nTraceback"), ended.describe()
    assert ended.err.endswith("SystemExit: 7\nmill: there is no command 'leave'\n"), ended.describe()


def test_plug_ins_that_hang():
    """In bytecode or in a wait of ours: out after five seconds, and the program ends nevertheless."""

    def hang(what):
        source = f"@mill.command\ndef hang(text):\n    {what}\n"
        return mill(plugins(sleepy=source), "hang", "upper", text="a\nb\n")

    whats = "while True: pass", "import interlace; interlace.select(interlace.after(1e6))"
    with ThreadPoolExecutor() as pool:
        for ended in pool.map(hang, whats):
            ended.expect(1, "A\nB\n", None)
            equal(
                ended.err, "mill: plug-in 'sleepy' takes too long, and is out\nmill: there is no command 'hang'\n"
            )
            assert 5 <= ended.seconds < 20, ended.describe()


def test_plug_ins_that_do_not_behave():
    """What is no answer is said to be none."""
    source = "import interlace\n\n@mill.command\ndef odd(text):\n    interlace.output.send({1, 2})\n    return text\n"
    ended = mill(plugins(odd=source), "odd", "upper", text="a\n").expect(1, "A\n", None)
    equal(ended.err, "mill: plug-in 'odd' does not behave, and is out:\na set is no plain value\n")


def test_text_that_is_none():
    """Bytes that are no text are left alone: that is no plug-in's fault."""
    ended = command(program("plugin"), plugins(), "upper", stdin=b"a\n\xff\nb\n", cwd=PLUGIN)
    ended.expect(1, None, "mill: command 'upper': a str was to be made of bytes that are not UTF-8\n")
    equal(ended.out, "A\n\udcff\nB\n")


def test_use():
    """No folder, none that there is, no such command."""
    command(program("plugin"), cwd=PLUGIN).expect(2, "", ("usage: ",))
    mill("/nowhere", "upper").expect(1, "", "mill: /nowhere: No such file or directory\n")
    mill(plugins(), "nothing", text="a\n").expect(1, "a\n", "mill: there is no command 'nothing'\n")


def test_readme():
    """Compiled and run as it says there."""
    copy = Copy("plugin")
    failing = {line: 1 for line, _ in readme.sessions("plugin") if "dates" in line}
    readme.check("plugin", simplify=form, codes=failing, run=copy.run)
    [shown] = re.findall(r"^```python\n(.*?)^```$", (PLUGIN / "README.md").read_text(), re.M | re.S)
    assert shown in (PLUGIN / "plugins" / "case.py").read_text(), shown


def form(output):
    """Without the folder it is in; lines on stderr and stdout come in one order or another."""
    return sorted(re.sub(r'File ".*/python/mill.py"', 'File "mill.py"', output).splitlines())
