"""Parse Python files: receive a path, send a summary. The second of the census's three stages:

    interlace pipe 'list.py DIR' '-n 2 parse.py' 'tally.py'
"""

import ast
import warnings

import interlace

warnings.simplefilter("ignore", SyntaxWarning)  # about other people's files


def summarize(path):
    """Return what the tally needs of a file: a small dict. The syntax tree stays in this interpreter."""
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source)
    except Exception as error:  # a file that does not parse is counted, it does not end the census
        return {"path": path, "error": repr(error)}

    functions = classes = branches = 0
    longest = (0, "", 0)
    imports = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                functions += 1
                longest = max(longest, ((node.end_lineno or node.lineno) - node.lineno + 1, node.name, node.lineno))
            case ast.ClassDef():
                classes += 1
            case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.match_case():
                branches += 1
            case ast.Import():
                imports.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                imports.add(module.partition(".")[0])
    return {
        "path": path,
        "lines": source.count(b"\n"),
        "functions": functions,
        "classes": classes,
        "branches": branches,
        "longest": longest,
        "imports": imports,
    }


if __name__ == "__main__":
    interlace.output.send_many(map(summarize, interlace.input))
