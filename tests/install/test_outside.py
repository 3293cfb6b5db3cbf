"""Programs of others: built with what pkg-config says and nothing else, against the installation, in a scratch folder."""

import re

import man
from installed import LIMIT, SOURCE, VERSION, build, compiler, installed, needed, package_config, path_of, with_library
from support import Skip, command, equal, folder

CHANNELS = """
#include <interlace/channel.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    lace_region *region;
    lace_sender *sender;
    lace_receiver *receiver;
    lace_message *message;
    lace_channel_options options = {0};
    options.capacity = 1;
    lace_payload payload = {0};
    payload.data = "hello";
    payload.size = strlen("hello");
    if (lace_region_create(NULL, &region) != LACE_OK)
        return 1;
    lace_status status = lace_channel_create(region, &options, &sender, &receiver);
    if (status == LACE_OK)
        status = lace_message_create(region, &message);
    if (status == LACE_OK)
        status = lace_send(sender, &payload, NULL);
    if (status == LACE_OK)
        status = lace_recv(receiver, message, NULL);
    if (status != LACE_OK)
        return 2;
    printf("%.*s\\n", (int)lace_message_size(message), (const char *)lace_message_data(message));
    lace_message_destroy(message);
    lace_sender_destroy(sender);
    lace_receiver_destroy(receiver);
    return lace_region_destroy(region) == LACE_OK ? 0 : 3;
}
"""


PLUGIN = """
#include <dlfcn.h>
#include <interlace/interlace.h>
#include <signal.h>
#include <stdio.h>

#define FIND(name) __typeof__(&name) name##_ = (__typeof__(&name))dlsym(library, #name)

static int use(void *library)
{
    FIND(lace_host_open_version);
    FIND(lace_host_close);
    FIND(lace_worker_start);
    FIND(lace_worker_result);
    FIND(lace_worker_destroy);
    FIND(lace_value_destroy);
    FIND(lace_problem);
    lace_host *host;
    lace_worker *worker;
    lace_value *value;
    lace_worker_options options = {0};
    options.code = "import _ctypes, _decimal, _ssl, array; print('all there')";
    if (lace_host_open_version_(LACE_VERSION_NUMBER, NULL, &host) == LACE_OK) {
        if (lace_worker_start_(host, &options, &worker) == LACE_OK) {
            if (lace_worker_result_(worker, NULL, &value) == LACE_OK)
                lace_value_destroy_(value);
            else
                puts(lace_problem_());
            lace_worker_destroy_(worker);
        }
        return lace_host_close_(host) == LACE_OK;
    }
    puts(lace_problem_());
    return 0;
}

int main(int argc, char **argv)
{
    for (int round = 0; round < 2; round++) {
        void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
        if (library == NULL || !use(library) || dlclose(library) != 0)
            return 1;
        raise(SIGURG); /* has a handler now, which is still there */
    }
    return 0;
}
"""


def flags():
    """For the shared library."""
    return package_config("--cflags", "--libs")


def static_flags():
    """For the static one: it in the place of -linterlace, and what it needs."""
    archive = str(installed(path_of("libdir")) / "libinterlace.a")
    return [archive if word == "-linterlace" else word for word in package_config("--static", "--cflags", "--libs")]


def readme_program():
    [program] = re.findall(r"^```c\n(.*?)^```$", (SOURCE / "README.md").read_text(), re.M | re.S)
    return program


def test_a_project_in_c():
    """The manual's example, linked with the shared library."""
    program = build(man.example(3), *flags())
    assert f"libinterlace.so.{VERSION.split('.')[0]}" in needed(program)[1]
    command(str(program), env=with_library()).expect(0, "1\n4\n9\n", "")


def test_a_project_in_cpp():
    """The same program is C++ as well."""
    if compiler("c++") is None:
        raise Skip("no C++ compiler here")
    program = build(man.example(3), *flags(), language="c++")
    command(str(program), env=with_library()).expect(0, "1\n4\n9\n", "")


def test_a_project_that_links_statically():
    """With libinterlace.a the program needs no libinterlace.so."""
    program = build(man.example(3), *static_flags())
    libraries = needed(program)[1]
    assert not any("interlace" in name for name in libraries), libraries
    command(str(program), env=with_library()).expect(0, "1\n4\n9\n", "")


def test_a_project_that_wants_channels_alone():
    """channel.h stands by itself, with either library."""
    for words in (flags(), static_flags()):
        command(str(build(CHANNELS, *words)), env=with_library()).expect(0, "hello\n", "")


def test_a_plugin():
    """Loaded with dlopen(), where the program does not show what the library needs; and let go of again."""
    include = package_config("--cflags")
    words = [*compiler("c"), "-std=gnu11", "-Wno-pedantic"]  # for __typeof__, and functions out of dlsym()
    place = folder()
    (place / "program.c").write_text(PLUGIN)
    command(*words, "program.c", "-o", "program", *include, cwd=place, limit=LIMIT).expect(0, "", "")
    library = installed(path_of("libdir")) / f"libinterlace.so.{VERSION.split('.')[0]}"
    command(str(place / "program"), str(library), env=with_library()).expect(0, "all there\n" * 2, "")


def test_the_program_of_the_readme():
    """What the README shows prints what it says there."""
    shown = readme_program()
    [printed] = re.findall(r"/\* prints (.*) \*/", shown)
    command(str(build(shown, *flags())), env=with_library()).expect(0, f"{printed}\n", "")


def test_the_examples():
    """Those in C are programs of others, too. (tests/examples runs them.)"""
    folders = sorted({source.parent for source in (SOURCE / "examples").glob("*/*.c")})
    assert len(folders) >= 3, folders
    for sources in folders:
        words = [*compiler("c"), *map(str, sorted(sources.glob("*.c"))), "-o", str(folder() / "program"), *flags()]
        command(*words, limit=LIMIT).expect(0, "", "")


def test_flags_are_few():
    """An include folder, a library folder and a library: nothing of Python's, libsodium's or the compiler's options."""
    words = package_config("--libs")
    equal(words, [f"-L{installed(path_of('libdir'))}", "-linterlace"])
    assert f"-I{installed(path_of('includedir'))}" in package_config("--cflags")
    assert all(word.startswith("-I") for word in package_config("--cflags"))
