"""interlace key: making and showing keys (I3)."""

import os
import pwd
import re
import stat
import threading

from support import BINARY, command, environment, equal, folder, host

FINGERPRINT = re.compile(r"(?:[0-9a-f]{4}-){3}[0-9a-f]{4}")


def home_of(config=None):
    """Return a new home folder and an environment that has it, and XDG_CONFIG_HOME if given."""
    home = folder()
    changes = {"HOME": home, "XDG_CONFIG_HOME": config}
    return home, environment(**changes)


def test_i3_help():
    """To stdout, with the files, an example and the exit codes, wherever --help stands."""
    for words in (["key", "--help"], ["key", "-h"], ["key", "new", "--help"], ["key", "show", "-h"]):
        found = ("Usage: interlace key new", "key show", "XDG_CONFIG_HOME", "~/.config", "Example", "copy its file", "0 ")
        ended = host(*words).expect(0, found)
        assert all(len(line) <= 119 for line in ended.out.splitlines()), ended.out
    host("--help").expect(0, ("key new|show",))


def test_i3_new_and_show_by_default():
    """In ~/.config/interlace/key, whose folders are made, for the user alone; show says the same as new."""
    home, env = home_of()
    path = os.path.join(home, ".config", "interlace", "key")
    ended = host("key", "show", env=env).expect(1, "", ("interlace: key show: there is no key in", path, "key new"))
    equal(ended.err.count("\n"), 1)
    made = host("key", "new", env=env).expect(0, (path,))
    fingerprint, shown = made.out.split("  ")
    assert FINGERPRINT.fullmatch(fingerprint), made.out
    equal(shown, path + "\n")
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
    equal(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)
    host("key", "show", env=env).expect(0, made.out)
    host("key", "show", path).expect(0, made.out)


def test_i3_the_folder_of_settings():
    """XDG_CONFIG_HOME counts when it is absolute; without HOME the user's own folder is asked for."""
    settings = folder()
    home, env = home_of(settings)
    made = host("key", "new", env=env).expect(0, (os.path.join(settings, "interlace", "key"),))
    assert not os.path.exists(os.path.join(home, ".config"))
    host("key", "show", env=env).expect(0, made.out)
    _, env = home_of("relative/folder")
    host("key", "show", env=env).expect(1, "", ("/.config/interlace/key",))
    ended = host("key", "show", env=environment(HOME=None, XDG_CONFIG_HOME=None))
    theirs = os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, ".config", "interlace", "key")
    assert theirs in ended.out + ended.err, ended.describe()
    host("key", "show", env=environment(HOME="/" + "x" * 5000, XDG_CONFIG_HOME=None)).expect(1, "", ("too long",))


def test_i3_a_key_is_never_overwritten():
    """new exits with 1 when there is a file already, whatever it is, and leaves it as it was."""
    path = os.path.join(folder(), "key")
    host("key", "new", path).expect(0, (path,))
    with open(path, "rb") as file:
        before = file.read()
    ended = host("key", "new", path).expect(1, "", ("interlace: key new: ", path, "is there already", "key show"))
    equal(ended.err.count("\n"), 1)
    with open(path, "rb") as file:
        equal(file.read(), before)
    assert not FINGERPRINT.search(before.decode())
    link = os.path.join(folder(), "link")
    os.symlink("elsewhere", link)
    host("key", "new", link).expect(1, "", ("is there already",))
    host("key", "new", "/no/such/folder/key").expect(1, "", ("cannot write", "No such file"))


def test_i3_one_of_several_makes_it():
    """Eight at once: one of them makes the key, and the others do not spoil it."""
    path = os.path.join(folder(), "key")
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(host("key", "new", path).code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(sorted(codes), [0] + [1] * 7)
    host("key", "show", path).expect(0, (path,))


def test_i3_files_that_are_refused():
    """Others may read it; it holds no key; it is a link, a folder, somebody else's. One line each that says so."""
    path = os.path.join(folder(), "key")
    host("key", "new", path).expect(0, (path,))
    for mode in (0o640, 0o604, 0o660, 0o602, 0o777):
        os.chmod(path, mode)
        ended = host("key", "show", path).expect(1, "", ("key show: others may read or write", path, "chmod 600"))
        equal(ended.err.count("\n"), 1)
    os.chmod(path, 0o600)
    link = os.path.join(folder(), "link")
    os.symlink(path, link)
    host("key", "show", link).expect(1, "", ("symbolic link", link))
    host("key", "show", os.path.dirname(path)).expect(1, "", ("no file at all",))
    with open(path, "w") as file:
        file.write("interlace-key-1:nonsense\n")
    host("key", "show", path).expect(1, "", ("holds no key", "interlace-key-1:", "key new"))
    if os.geteuid() == 0:
        os.chown(path, 4321, -1)
        host("key", "show", path).expect(1, "", ("another user", "4321"))


def test_i3_usage_errors_exit_with_2():
    """One line that names what is wrong, and nothing is made."""
    path = os.path.join(folder(), "key")
    for words, found in [
        (["key"], ["key: new or show is missing"]),
        (["key", "old"], ["key: 'old' is neither new nor show"]),
        (["key", "--frob"], ["'--frob' is neither"]),
        (["key", "new", "--secret"], ["key new: unknown option --secret"]),
        (["key", "show", "-x", path], ["key show: unknown option -x"]),
        (["key", "new", path, "more"], ["key new: one FILE at most, not 'more'"]),
        (["key", "show", ""], ["key show: one FILE at most, not ''"]),
    ]:
        ended = host(*words).expect(2, "", ("interlace: ", *found, "--help"))
        equal((words, ended.err.count("\n")), (words, 1))
    assert not os.path.exists(path)


def test_i3_a_name_that_looks_like_an_option():
    """After -- comes a file, whatever it looks like."""
    where = folder()
    host("key", "new", "--", "-key", cwd=where).expect(0, ("  -key\n",))
    host("key", "show", "--", "-key", cwd=where).expect(0, ("  -key\n",))
    assert os.path.exists(os.path.join(where, "-key"))


def test_i3_nobody_reads_the_answer():
    """A full disk behind standard output is told of."""
    path = os.path.join(folder(), "key")
    host("key", "new", path).expect(0, (path,))
    ended = command("sh", "-c", 'exec "$0" key show "$1" >/dev/full', BINARY, path)
    ended.expect(1, "", ("cannot write to standard output",))
