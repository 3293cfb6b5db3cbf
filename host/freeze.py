"""Freeze the Python files of the `interlace` package into a C header: freeze.py OUTPUT.h PACKAGE_DIR

Run at build time by the very Python version that is embedded, since the marshalled code is its own.
"""

import marshal
import pathlib
import sys


def modules(package):
    """Yield (module name, source file, is_package) for every file of the package."""
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        yield ".".join(parts[:-1] if is_package else parts), path, is_package


def main(output, package):
    arrays, table = [], []
    for number, (name, path, is_package) in enumerate(modules(package)):
        label = f"<interlace>/{path.relative_to(package.parent)}"
        code = marshal.dumps(compile(path.read_bytes(), label, "exec", dont_inherit=True, optimize=0))
        rows = (code[i : i + 20] for i in range(0, len(code), 20))
        body = ",\n    ".join(",".join(map(str, row)) for row in rows)
        arrays.append(f"static const unsigned char frozen_{number}[] = {{\n    {body}}};\n")
        table.append(f'    {{"{name}", frozen_{number}, {len(code)}, {int(is_package)}}},\n')
    text = "/* Made by host/freeze.py from host/python/. */\n" + "".join(arrays)
    text += "static const struct _frozen lace_frozen_modules[] = {\n" + "".join(table) + "    {0}};\n"
    output.write_text(text)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
