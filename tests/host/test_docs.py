"""Docstrings: each public function, class and method has one, with an example, which runs and prints what it says.

An example is an indented block. Each is run as a script of its own; a comment behind a print() says what that prints.
A name that the block does not make itself is one of NAMES, or is made by the example of its class.
"""

import ast
import builtins
import contextlib
import inspect
import re
import textwrap

import public
from endpoints import with_a_key
from support import equal, folder, raises, run

# What an example may take for granted, and how it comes about: a line that ends with a colon has the rest as its block.
NAMES = {
    "interlace": "import interlace",
    "interpreters": "from interlace import interpreters",
    "sender": "sender, _receiver = interlace.channel(64)",
    "receiver": "_sender, receiver = interlace.channel(64)\nwith _sender:\n    _sender.send_many(['some', 'messages'])",
    "interp": "interp = interpreters.create()",
    "queue": "queue = interpreters.create_queue()",
    "stop": "_stopper, stop = interlace.channel(0)",
    "counter": "counter = interlace.Counter(100)",
    "semaphore": "semaphore = interlace.Semaphore(2)\nsemaphore.acquire()",
    "barrier": "barrier = interlace.Barrier(1)",
    "group": "with interlace.Group() as group:",
    "executor": "with interlace.Executor(2) as executor:",
    "worker": "worker = group.start(pow, 2, 3)",
}


def blocks(doc):
    """The indented blocks of a docstring, as programs."""
    found = re.findall(r"(?:^ {4,}\S.*(?:\n|\Z)|^ *\n)+", doc, re.M)
    if not "".join(found).strip():  # all below the first line was indented: Python has taken that away
        rest = doc.partition("\n\n")[2]
        with contextlib.suppress(SyntaxError):
            found = [rest] * any(isinstance(node, ast.Call) for node in ast.walk(parse(rest)))
    for block in found:
        if code := textwrap.dedent(block).strip():
            yield code + "\n"


def parse(code):
    return compile(code, "example", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def taken(code):
    """The names that a program uses and does not make."""
    used, made = set(), set(dir(builtins)) | {"__name__", "__file__"}
    for node in ast.walk(parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.ExceptHandler(name=name):
                made.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                made.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                made |= {(alias.asname or alias.name).partition(".")[0] for alias in names}
    return used - made


def waits(code):
    """Whether a program has an await outside of functions: it is meant for an event loop."""
    return bool(compile(code, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT).co_flags & inspect.CO_COROUTINE)


def script(code, before=""):
    """The whole script for an example; `before` is the one of its class."""
    if before != code and taken(code) - NAMES.keys() and taken(before + code) < taken(code) | NAMES.keys():
        code = before + code
    names = taken(code)
    if unknown := names - NAMES.keys():
        raise AssertionError(f"the example uses what it does not make: {', '.join(sorted(unknown))}\n{code}")
    while more := set().union(*(taken(NAMES[name] + " pass" * NAMES[name].endswith(":")) for name in names)) - names:
        names |= more
    if waits(code):
        code = f"import asyncio\n\nasync def main():\n{textwrap.indent(code, '    ')}\nasyncio.run(main())\n"
    lines, indent = [], ""
    for part in [NAMES[name] for name in NAMES if name in names] + [code]:
        lines.append(textwrap.indent(part.rstrip() + "\n", indent))
        indent += "    " * part.endswith(":")
    return "".join(lines)


def printed(code):
    """What the comments behind the print() of a program say that they print, and whether each has one."""
    comments = re.findall(r"^ *(?:.*: )?print\(.*\) +# (.+)$", code, re.M)
    return comments, 0 < len(comments) == len(re.findall(r"\bprint\(", code))


def check(doc, before=""):
    """Run the examples of a docstring; return how many there are."""
    number = 0
    for number, code in enumerate(blocks(doc), 1):
        lines, each = printed(code)
        err = None if "Restart(" in code else ""  # a worker that is started anew has said why
        ended = run(script(code, before), env=with_a_key(), cwd=folder()).expect(err=err)
        seen = ended.out.splitlines()
        if each:
            assert seen == lines, f"the example is to print {lines}:\n{code}\n{ended.describe()}"
        rest = iter(seen)  # the comments' lines stand in there in their order
        assert all(line in rest for line in lines), f"the example is to print {lines}:\n{code}\n{ended.describe()}"
    return number


def own(module):
    return {name: thing for name, thing in public.things(module).items() if public.is_own(module, thing)}


def doc_of(thing):
    """What is written at this very thing: no text of a base class."""
    return (vars(thing) if isinstance(thing, type) else {"__doc__": thing.__doc__}).get("__doc__")


def test_everything_has_a_docstring():
    """Each public function, class, method and property of each module; functions, classes and methods have an example."""
    problems = []
    for module in public.MODULES.values():
        assert any(blocks(module.__doc__)), module
        things = own(module)
        for name, thing in list(things.items()):
            if isinstance(thing, type):
                things |= {f"{name}.{key}": value for key, value in public.members(thing).items() if key[0] != "_"}
        for name, thing in things.items():
            if not (doc := doc_of(thing)):
                problems.append(f"{module.__name__}.{name} has no docstring")
            elif (isinstance(thing, type) or public.is_method(thing)) and not list(blocks(doc)):
                problems.append(f"the docstring of {module.__name__}.{name} has no example, an indented block")
    assert not problems, "\n".join(problems)


def tester(name, thing):
    """A test of the examples of a module, a function, or a class and its methods."""

    def test():
        before = next(blocks(thing.__doc__ or ""), "")
        problems = []
        documented = {name: thing}
        if isinstance(thing, type):
            documented |= {f"{name}.{key}": value for key, value in public.members(thing).items() if key[0] != "_"}
        for where, what in documented.items():
            try:
                check(what.__doc__ or "", before)
            except (AssertionError, SyntaxError) as error:
                problems.append(f"{where}: {error}")
        assert not problems, "\n\n".join(problems)

    test.__doc__ = f"The examples of {name} run, and print what they say."
    return test


for _name, _module in public.MODULES.items():
    globals()[f"test_{_name}"] = tester(_name, _module)
    for _key, _thing in own(_module).items():
        globals()[f"test_{_name}.{_key}"] = tester(f"{_name}.{_key}", _thing)


def test_a_wrong_example_fails():
    """What the tests here stand on: one that prints something else, raises, or takes what nobody makes."""
    equal(check("Text.\n\n    worker = group.start(sum, [1, 2])\n    print(worker.result())  # 3\n\nMore."), 1)
    two = "Text.\n\n    print(1)\n    print(2)   # 2\n\nMore.\n\n    await nothing()\n"
    equal(check(two, "async def nothing(): pass\n"), 2)
    equal(check("Text without one."), 0)
    for wrong, words in (("print(2)  # 3", "is to print ['3']"), ("1 / 0", "ZeroDivisionError"), ("print(x)", "make: x"),
                         ("print(1); print(2)  # 3", "is to print ['3']")):  # fmt: skip
        with raises(AssertionError, words):
            check(f"Text.\n\n    {wrong}\n")
