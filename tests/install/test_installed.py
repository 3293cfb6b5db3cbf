"""`meson install`: everything is there, and agrees about the version."""

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from installed import (
    BUILD,
    LIMIT,
    PYTHON,
    SOURCE,
    VERSION,
    alike,
    build,
    installation,
    installed,
    introspect,
    package_config,
    path_of,
    python_folder,
    with_library,
)
from support import command, equal, folder, write

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def files_below(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if not found.is_dir())


def test_every_file_is_where_it_belongs():
    """Binary, libraries, headers, interlace.pc, manual pages; nothing else but the Python part."""
    major = VERSION.split(".")[0]
    wanted = {
        path_of("bindir") / "interlace",
        path_of("includedir") / "interlace/channel.h",
        path_of("includedir") / "interlace/interlace.h",
        path_of("libdir") / "libinterlace.a",
        path_of("libdir") / "libinterlace.so",
        path_of("libdir") / f"libinterlace.so.{major}",
        path_of("libdir") / f"libinterlace.so.{VERSION}",
        path_of("libdir") / "pkgconfig/interlace.pc",
        path_of("mandir") / "man1/interlace.1",
        path_of("mandir") / "man3/interlace.3",
        path_of("mandir") / "man7/interlace.7",
    }
    python = "/" / python_folder().relative_to(installation())
    package = SOURCE / "host/python"
    wanted.add(python / f"_interlace{SUFFIX}")
    for path in package.rglob("*"):
        if path.suffix in (".py", ".pyi") or path.name == "py.typed":
            wanted.add(python / path.relative_to(package))
    alike(files_below(installation()), [str(path.relative_to("/")) for path in wanted])


def test_the_library_is_found_by_its_soname():
    """The names without the full version are links to it."""
    library = installed(path_of("libdir")) / f"libinterlace.so.{VERSION}"
    for name in ("libinterlace.so", f"libinterlace.so.{VERSION.split('.')[0]}"):
        link = library.parent / name
        assert link.is_symlink() and not os.path.isabs(os.readlink(link)), link
        equal(link.resolve(), library.resolve())


def test_the_python_part_lies_where_this_python_looks():
    """Below the prefix, in a folder that is on sys.path or, if there is none, named as Python names it."""
    place = "/" / python_folder().relative_to(installation())
    prefix = introspect("buildoptions")["prefix"]
    assert place.is_relative_to(prefix), place
    script = "import site; print(*site.getsitepackages(), sep='\\n')"
    looked_at = command(PYTHON, "-I", "-c", script).expect(0, None, "").out.split()
    if any(path.startswith(f"{prefix}/lib") for path in looked_at):
        assert str(place) in looked_at, (place, looked_at)
    else:
        assert place.name in ("site-packages", "dist-packages"), place


def test_versions_agree():
    """The headers, the library, the command, meson and interlace.pc."""
    equal(introspect("projectinfo")["version"], VERSION)
    equal(package_config("--modversion"), [VERSION])
    binary = str(installed(path_of("bindir")) / "interlace")
    python = "%d.%d.%d" % sys.version_info[:3]
    command(binary, "--version").expect(0, f"interlace {VERSION} (CPython {python})\n", "")
    program = build(
        """
        #include <interlace/interlace.h>
        #include <stdio.h>
        int main(void)
        {
            printf("%s %d.%d.%d %d\\n", LACE_VERSION, LACE_VERSION_MAJOR, LACE_VERSION_MINOR, LACE_VERSION_PATCH,
                   lace_version() - LACE_VERSION_NUMBER);
            return 0;
        }
        """,
        *package_config("--cflags", "--libs"),
    )
    command(str(program), env=with_library()).expect(0, f"{VERSION} {VERSION} 0\n", "")


def test_versions_that_differ_are_refused():
    """A header of another version than meson.build's is an error of `meson setup` that says what has to stand there."""
    copy = folder() / "copy"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns(".git", "build", "__pycache__"))
    header = copy / "host/interlace.h"
    major, minor, patch = map(int, VERSION.split("."))
    good = header.read_text()
    changes = [
        (f'#define LACE_VERSION "{VERSION}"', f'#define LACE_VERSION "{major}.{minor}.{patch + 1}"'),
        (f"#define LACE_VERSION_MAJOR {major}\n", f"#define LACE_VERSION_MAJOR {major}0\n"),
        (f"#define LACE_VERSION_PATCH {patch}\n", f"#define LACE_VERSION_PATCH {patch + 1}\n"),
    ]
    for before, after in changes:
        assert before in good, before
        header.write_text(good.replace(before, after))
        ended = command("meson", "setup", str(folder()), str(copy), "-Dtests=false", limit=LIMIT)
        assert ended.code != 0, ended.describe()
        assert before.strip() in ended.out and "host/interlace.h" in ended.out, ended.describe()


def test_the_command_runs_scripts():
    """The installed binary, by itself: workers, channels, the module's Python half."""
    script = write(
        """
        import interlace

        def double(numbers, doubled):
            for n in numbers:
                doubled.send(2 * n)

        with interlace.Group() as group:
            send, numbers = interlace.channel(64)
            doubled, results = interlace.channel(64)
            for _ in range(4):
                group.start(double, numbers, doubled)
            del numbers, doubled
            with send:
                send.send_many(range(50))
            print(sum(results))
        """
    )
    command(str(installed(path_of("bindir")) / "interlace"), "run", script, cwd="/").expect(0, "2450\n", "")


def test_nothing_points_into_the_build():
    """No run path and no path of the build tree is left in what is installed."""
    for path in (f"{path_of('bindir')}/interlace", f"{path_of('libdir')}/libinterlace.so"):
        listed = command("readelf", "-d", str(installed(path))).expect(0, None, None).out
        assert str(BUILD) not in listed, listed
    text = (installed(path_of("libdir")) / "pkgconfig/interlace.pc").read_text()
    assert not re.search(rf"{re.escape(str(BUILD))}|{re.escape(str(SOURCE))}", text), text
    assert Path(PYTHON).is_absolute()
