"""An installation in a scratch folder, made once for each file of tests, and programs that are built against it."""

import functools
import json
import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from support import command, environment, folder

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ["INTERLACE_BUILD"])
PYTHON = os.environ["INTERLACE_PYTHON"]  # the program of the Python that the build is for
HEADERS = [SOURCE / "channels/channel.h", SOURCE / "host/interlace.h"]
VERSION = re.search(r'^#define LACE_VERSION "(.+)"$', HEADERS[1].read_text(), re.M)[1]
LIMIT = 120  # seconds for compilers and for meson, on a loaded machine


def alike(got, wanted):
    """Fail unless the two have the same members; say which differ."""
    got, wanted = set(got), set(wanted)
    assert got == wanted, f"not there: {sorted(wanted - got)}; not expected: {sorted(got - wanted)}"


@functools.cache
def introspect(what):
    """What meson knows of the build: its options, by name, or its project."""
    answer = json.loads(command("meson", "introspect", f"--{what}", str(BUILD), limit=LIMIT).expect(0, None, None).out)
    return {entry["name"]: entry["value"] for entry in answer} if isinstance(answer, list) else answer


def path_of(option):
    """Where an option such as libdir points, below the prefix."""
    return Path(introspect("buildoptions")["prefix"]) / introspect("buildoptions")[option]


@functools.cache
def installation():
    """Run `meson install`; return the DESTDIR."""
    destination = folder()
    words = ["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir", str(destination)]
    command(*words, limit=LIMIT).expect(0, None, None)
    return destination


def installed(path):
    """The place in the DESTDIR of what is to lie at an absolute path."""
    return installation() / Path(path).relative_to("/")


@functools.cache
def python_folder():
    """The folder of the installation that the Python module lies in."""
    [init] = [path for path in installation().rglob("interlace/__init__.py")]
    return init.parent.parent


def package_config(*words):
    """What pkg-config says of the installation: a list of words."""
    env = environment(
        PKG_CONFIG_PATH=f"{installed(path_of('libdir'))}/pkgconfig:{sysconfig.get_config_var('LIBPC')}",
        PKG_CONFIG_SYSROOT_DIR=str(installation()),
    )
    return shlex.split(command("pkg-config", *words, "interlace", env=env).expect(0, None, "").out)


def compiler(language):
    """The words that call the compiler for "c" or "c++", strict; None when there is none."""
    chosen = os.environ.get({"c": "CC", "c++": "CXX"}[language]) or {"c": "cc", "c++": "c++"}[language]
    words = shlex.split(chosen)
    standard = {"c": "c11", "c++": "c++17"}[language]
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wno-missing-field-initializers", "-Werror"]
    return [*words, f"-std={standard}", *strict] if shutil.which(words[0]) else None


def build(text, *flags, language="c"):
    """Compile and link a program of one file in a folder of its own; return its path."""
    place = folder()
    source = place / {"c": "program.c", "c++": "program.cc"}[language]
    source.write_text(text)
    program = place / "program"
    command(*compiler(language), str(source), "-o", str(program), *flags, cwd=place, limit=LIMIT).expect(0, "", "")
    return program


def with_library():
    """The environment of a program that is linked with the installed shared library."""
    return environment(LD_LIBRARY_PATH=f"{installed(path_of('libdir'))}:{sysconfig.get_config_var('LIBDIR')}")


def api():
    """The functions of the C API, in the order of the headers."""
    text = "".join(path.read_text() for path in HEADERS)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    names = re.findall(r"^LACE_API [^;{]*?\b(lace_\w+)\(", text, re.M)
    assert len(names) > 100 and len(set(names)) == len(names), names
    return names


def symbols(path, *options):
    """The names that nm lists for an object file or archive, by itself those that are defined in it."""
    chosen = options if "--undefined-only" in options else ("--defined-only", *options)
    listed = command("nm", "--format=posix", *chosen, str(path), limit=LIMIT).expect(0, None, None).out
    return {line.split()[0].partition("@")[0] for line in listed.splitlines() if len(line.split()) > 1}


def needed(path):
    """(the soname of a shared object or "", those of the libraries it needs)."""
    listed = command("readelf", "-d", str(path), limit=LIMIT).expect(0, None, None).out
    soname = re.search(r"\(SONAME\).*\[(.*)\]", listed)
    return soname[1] if soname else "", re.findall(r"\(NEEDED\).*\[(.*)\]", listed)


def python_version():
    return "%d.%d" % sys.version_info[:2]
