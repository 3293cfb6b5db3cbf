"""What the libraries show: the C API, all of it, and nothing else."""

import sysconfig

from installed import VERSION, alike, api, installed, needed, path_of, python_folder, python_version, symbols
from support import BINARY, command, equal

INIT = "PyInit__interlace"


def test_the_shared_library_shows_the_api():
    """Each function of the headers, and not one symbol more."""
    library = installed(path_of("libdir")) / "libinterlace.so"
    alike(symbols(library, "-D"), api())


def test_the_shared_library_names_what_it_needs():
    """Its soname is that of the major version; it is linked with Python."""
    soname, libraries = needed(installed(path_of("libdir")) / "libinterlace.so")
    equal(soname, f"libinterlace.so.{VERSION.split('.')[0]}")
    assert any(name.startswith(f"libpython{python_version()}.so") for name in libraries), libraries


def test_the_extension_module_shows_its_init():
    """The function that Python looks for; it brings no libpython, which would be a second Python in the process."""
    module = python_folder() / f"_interlace{sysconfig.get_config_var('EXT_SUFFIX')}"
    alike(symbols(module, "-D"), {INIT})
    libraries = needed(module)[1]
    assert not any("python" in name for name in libraries), libraries
    missing = {name for name in symbols(module, "-D", "--undefined-only") if name.startswith("lace_")}
    alike(missing, ())


def test_the_static_library_is_whole_and_keeps_to_its_prefix():
    """Its members lie in it, it has the whole API, and no other name that could clash with a program's own."""
    library = installed(path_of("libdir")) / "libinterlace.a"
    with open(library, "rb") as archive:
        equal(archive.read(8), b"!<arch>\n")  # a thin one only names files of the build tree
    names = symbols(library, "-g")
    alike(set(api()) - names, ())
    alike([name for name in names if not name.startswith("lace_")], {INIT})


def test_the_command_offers_the_api():
    """To extension modules that are loaded into it."""
    alike(set(api()) - symbols(BINARY, "-D"), ())


def test_little_memory_of_each_thread():
    """A library that comes late shares some 1.5 kB of static thread-local memory with all others that do."""
    module = python_folder() / f"_interlace{sysconfig.get_config_var('EXT_SUFFIX')}"
    for library in installed(path_of("libdir")) / "libinterlace.so", module:
        listed = command("readelf", "-lW", str(library)).expect(0, None, None).out
        [size] = [int(line.split()[5], 16) for line in listed.splitlines() if line.split()[:1] == ["TLS"]]
        assert size <= 256, (library, size)
