"""The stubs: they have the names, the parameters and the bases that the modules have at run time; mypy reads them."""

import ast
import inspect
import shutil
import typing
from pathlib import Path

import interlace
import public
from support import Skip, command, environment, equal, folder, write

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "host/python"
MAY_BE_BASE = 1 << 10  # Py_TPFLAGS_BASETYPE
KINDS = {
    "posonlyargs": inspect.Parameter.POSITIONAL_ONLY,
    "args": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "kwonlyargs": inspect.Parameter.KEYWORD_ONLY,
}


def stub_of(module):
    """The statements of a module's stub by the names they make: {name: [node, ...]}, several for overloads."""
    path = PACKAGE / module.__name__.replace(".", "/") / "__init__.pyi"
    return by_name(ast.parse(path.read_text()).body)


def by_name(statements):
    found = {}
    for node in statements:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [node.name]
        elif isinstance(node, ast.AnnAssign):
            names = [node.target.id]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.asname for alias in node.names if alias.asname == alias.name]  # `as` itself: exported
        else:
            continue
        for name in names:
            found.setdefault(name, []).append(node)
    return found


def literal(node):
    return ast.literal_eval(node) if isinstance(node, (ast.Constant, ast.Tuple, ast.UnaryOp)) else ast.unparse(node)


def said(node, bound):
    """The parameters that a function of a stub has: [(name, kind, default)], without the self of a method."""
    a, found = node.args, []
    defaults = [inspect.Parameter.empty] * (len(a.posonlyargs) + len(a.args) - len(a.defaults)) + a.defaults
    defaults = dict(zip([*a.posonlyargs, *a.args], defaults, strict=True)) | dict(
        zip(a.kwonlyargs, a.kw_defaults, strict=True)
    )
    for field in ("posonlyargs", "args"):
        found += [(p.arg, KINDS[field], defaults[p]) for p in getattr(a, field)]
    found = found[bound:]
    if a.vararg:
        found.append((a.vararg.arg, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.empty))
    found += [(p.arg, KINDS["kwonlyargs"], defaults[p] or inspect.Parameter.empty) for p in a.kwonlyargs]
    if a.kwarg:
        found.append((a.kwarg.arg, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.empty))
    return [(name, kind, literal(v) if isinstance(v, ast.AST) else v) for name, kind, v in found]


def real(thing, bound):
    """The same of what there is at run time; None for C code that does not say."""
    try:
        parameters = list(inspect.signature(thing).parameters.values())[bound:]
    except ValueError:
        return None
    return [(p.name, p.kind, p.default) for p in parameters]


def differences(where, nodes, thing, bound):
    """What the stub says wrongly of a function or method."""
    kinds = [ast.unparse(d) for d in nodes[0].decorator_list]
    if "property" in kinds:
        if public.is_method(thing):
            yield f"{where} is a property in the stub only"
        return
    if not public.is_method(thing):
        yield f"{where} is a property at run time"
        return
    if where.rpartition(".")[2].startswith("__") and not where.endswith(("__init__", "__new__")):
        return  # Python itself says what it takes
    bound, skip = bound["said"], bound["real"]
    if (wanted := real(thing, skip)) is None:
        yield f"{where} does not say what it takes: give its C docstring a first line name($self, ...)\\n--"
        return
    if len(nodes) == 1:
        if (got := said(nodes[0], bound)) != wanted:
            yield f"{where}: the stub has {shown(got)}, it is {shown(wanted)}"
        return
    names, overloaded = {p[0] for p in wanted}, set()
    for node in nodes:  # overloads leave out what they do not take, and defaults that would not fit
        overloaded |= {p[0] for p in said(node, bound)}
        if any(p[1] == inspect.Parameter.VAR_POSITIONAL for p in wanted):  # some of them, one by one
            overloaded -= {p[0] for p in said(node, bound) if p[1] == KINDS["posonlyargs"]} - names
    if names != overloaded:
        yield f"{where}: the overloads in the stub have {sorted(overloaded)}, it has {sorted(names)}"


def shown(parameters):
    empty = inspect.Parameter.empty
    return "(" + ", ".join(f"{n} [{k.name.lower()}]" + (f"={d!r}" if d is not empty else "") for n, k, d in parameters) + ")"


def class_differences(where, node, kind):
    """What the stub says wrongly of a class."""
    bases = [ast.unparse(base).partition("[")[0].lstrip("_") for base in node.bases]
    bases = [base for base in bases if base not in ("Generic", "Protocol")]
    wanted = [base.__name__ for base in kind.__bases__ if base not in (object, typing.Generic)]
    if bases != wanted:
        yield f"{where}: its bases are {wanted}, in the stub {bases}"
    if (is_final := "final" in map(ast.unparse, node.decorator_list)) == bool(kind.__flags__ & MAY_BE_BASE):
        yield f"{where} is{'' if is_final else ' not'} @final in the stub, {'' if is_final else 'not '}subclassed for real"
    stub, things = by_name(node.body), public.members(kind)
    made = [name for name in ("__new__", "__init__") if name in stub]
    for name in made:
        yield from differences(f"{where}.{name}", [*stub.pop(name)], kind, {"said": 1, "real": 0})
    if not made and (parameters := real(kind, 0)):
        yield f"{where} takes {shown(parameters)}, the stub has no __init__"
    for name, nodes in stub.items():
        if name not in things:
            if not all(isinstance(n, ast.AnnAssign) for n in nodes) and not hasattr(kind, name):
                yield f"{where}.{name} is in the stub only"
        elif not isinstance(nodes[0], ast.AnnAssign):
            yield from differences(f"{where}.{name}", nodes, things[name], {"said": 1, "real": 1})
    for name in things.keys() - stub.keys() - {"__init__", "__new__"}:
        yield f"{where}.{name} is not in the stub"


def test_stub_and_runtime_agree():
    """Every public name, base, method, property and parameter with its default is in the stub, and nothing else is."""
    problems = []
    for module in public.MODULES.values():
        stub, things = stub_of(module), public.things(module)
        stub = {name: nodes for name, nodes in stub.items() if not name.startswith("_")}
        # What is there in a stage of `interlace pipe` only is a variable in the stub: it cannot be had here.
        variables = {name for name, nodes in stub.items() if isinstance(nodes[0], ast.AnnAssign)}
        for what, one, other in (
            ("is public, but not in the stub", set(module.__all__) | own(module), set(stub)),
            ("is public, but not in __all__", own(module), set(module.__all__)),
            ("is in the stub only", set(stub) - variables, set(things)),
            ("is in __all__ only", set(module.__all__), set(things)),
        ):
            problems += [f"{module.__name__}.{name} {what}" for name in one - other]
        for name in (stub.keys() - variables) & things.keys():
            where, nodes = f"{module.__name__}.{name}", stub[name]
            if isinstance(nodes[0], ast.ClassDef):
                problems += class_differences(where, nodes[0], things[name])
            elif isinstance(nodes[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
                problems += differences(where, nodes, things[name], {"said": 0, "real": 0})
    assert not problems, "\n".join(sorted(problems))


def test_a_wrong_stub_is_seen():
    """What that stands on: a name, a kind, a default, a property, a base, a member that are not as they are for real."""
    function, method = {"said": 0, "real": 0}, {"said": 1, "real": 1}
    for text, thing, bound, right in (
        ("def after(seconds, /): ...", interlace.after, function, True),
        ("def after(secs, /): ...", interlace.after, function, False),
        ("def after(seconds): ...", interlace.after, function, False),
        ("def recv(self, timeout=None): ...", vars(interlace.Receiver)["recv"], method, True),
        ("def recv(self, timeout=1): ...", vars(interlace.Receiver)["recv"], method, False),
        ("def name(self): ...", vars(interlace.Receiver)["name"], method, False),
        ("@property\ndef name(self): ...", vars(interlace.Receiver)["name"], method, True),
        ("@property\ndef close(self): ...", vars(interlace.Receiver)["close"], method, False),
    ):
        equal((text, not list(differences("it", ast.parse(text).body, thing, bound))), (text, right))
    nodes = {name: nodes[0] for name, nodes in stub_of(interlace).items()}
    classes = {name: ast.unparse(node) for name, node in nodes.items() if isinstance(node, ast.ClassDef)}
    for name, old, new in (
        ("EndOfChannel", "EOFError", "OSError"),
        ("Sender", "@final", "@other"),
        ("Sender", "def close", "def shut"),
    ):
        assert old in classes[name]
        for text, right in ((classes[name], True), (classes[name].replace(old, new), False)):
            found = list(class_differences(name, ast.parse(text).body[0], getattr(interlace, name)))
            equal((name, new, not found), (name, new, right))


def own(module):
    return {name for name, thing in public.things(module).items() if public.is_own(module, thing)}


def mypy(*words):
    """Run mypy --strict on files (Ended)."""
    if not shutil.which("mypy"):
        raise Skip("mypy is not installed")
    env = environment(MYPYPATH=str(PACKAGE), MYPY_CACHE_DIR=str(folder()))
    return command("mypy", "--strict", "--python-version", "3.14", "--no-error-summary", *words, env=env, limit=80)


def test_mypy_takes_the_stubs():
    """They are right in themselves."""
    mypy(*map(str, sorted(PACKAGE.glob("interlace/**/*.pyi")))).expect(out="")


def test_types_that_mypy_sees():
    """What the calls of a program give, and what mypy says to a program that is wrong."""
    right = """
        from collections.abc import Iterator
        from typing import Any, assert_type

        import interlace
        from interlace import Pipeline, Receiver, Sender, Worker, pipeline, stage

        def double(numbers: Receiver[int], doubled: Sender[int]) -> int:
            for n in numbers:
                assert_type(n, int)
                doubled.send(2 * n)
            return 0

        def use(send: Sender[int], numbers: Receiver[int], words: Receiver[str], worker: Worker[float]) -> None:
            assert_type(numbers.recv(timeout=1), int)
            assert_type(numbers.recv_many(10), list[int])
            assert_type(send.send_many(range(5)), int)
            assert_type(worker.result(), float)
            case, value = interlace.select(numbers, timeout=0)
            assert_type(case, Receiver[int])
            assert_type(value, int)
            ended, nothing = interlace.select(worker, interlace.after(1.0))
            assert_type(ended, Worker[float] | interlace.After)
            assert_type(nothing, None)
            interlace.select(numbers, words, interlace.after(1), (send, 3), worker, priority=True)

        def digits(n: int) -> Iterator[str]:
            yield from str(n)

        async def ask(digit: str) -> bytes:
            return digit.encode()

        strict, split, fetch = stage(int, on_error="skip"), stage(digits, batch=2), stage(ask, concurrency=2)
        assert_type(pipeline(["1"], stage(len)), Pipeline[int])
        assert_type(pipeline([1], split, fetch), Pipeline[bytes])
        assert_type(pipeline(["1"], stage(len), split, fetch), Pipeline[bytes])
        assert_type(pipeline([1], digits), Pipeline[str])
        assert_type(pipeline(["1"], ask), Pipeline[bytes])
        assert_type(pipeline(["1"], len), Pipeline[int])
        for line in (pipeline(["1"], strict, digits), pipeline(["1"], strict, split, ask, len), pipeline(["1"], len, split),
                     pipeline(["1"], strict, split, fetch, len), pipeline(["1"], strict, split, fetch, stage(len), len)):
            assert_type(line, Pipeline[Any])

        with interlace.Group() as group:
            ends: tuple[Sender[int], Receiver[int]] = interlace.channel(64)
            assert_type(group.start(double, ends[1], ends[0]), Worker[int])
            assert_type(group.start("module:function", 1), Worker[Any])
        with interlace.Executor(2) as executor:
            assert_type(executor.submit(len, "abc").result(), int)
            assert_type(list(executor.map(str, [1, 2])), list[str])
        """
    mypy(write(right, "right.py")).expect(out="")
    wrong = """
        import interlace

        def use(send: interlace.Sender[int], numbers: interlace.Receiver[int]) -> None:
            send.send("text")
            send.recv()
            text: str = numbers.recv()
            interlace.select(1)
            interlace.channel()
            interlace.Sender()

        interlace.pipeline([1], interlace.stage(len))
        interlace.pipeline([[1]], interlace.stage(len), interlace.stage(len))
        interlace.pipeline([1], len)
        interlace.pipeline([1])
        """
    ended = mypy(write(wrong, "wrong.py"))
    lines = {line.split(":")[1] for line in ended.out.splitlines() if ": error:" in line}
    assert lines >= {"4", "5", "6", "7", "8", "11", "12", "13", "14"}, ended.describe()


def test_mypy_takes_the_examples():
    """They pass but for annotations of their own functions, which they do without. Each folder is a program.

    What they import beside that need not be installed.
    """
    loose = "--allow-untyped-defs", "--allow-incomplete-defs", "--allow-untyped-calls", "--disable-error-code=var-annotated"
    loose += ("--disable-error-code=import-not-found",)
    for path in sorted({path.parent for path in (ROOT / "examples").glob("*/*.py")}):
        mypy(*loose, *map(str, sorted(path.glob("*.py")))).expect(out="")
