"""The examples in C: their programs as the build made them, and their READMEs, whose compiler is run, too."""

import shutil
import sysconfig
from pathlib import Path

import readme
from support import BINARY, command, environment, folder

BUILD = Path(BINARY).parent


def program(name):
    """The path of an example's program."""
    return str(BUILD / f"example-{name}")


def as_installed(**changes):
    """An environment in which pkg-config and the loader find the library of the build tree."""
    return environment(
        PKG_CONFIG_PATH=f"{BUILD}/meson-uninstalled:{sysconfig.get_config_var('LIBPC')}",
        LD_LIBRARY_PATH=f"{BUILD}:{sysconfig.get_config_var('LIBDIR')}",
        PATH=f"{BUILD}:{environment()['PATH']}",
        PYTHONDONTWRITEBYTECODE="1",
        **changes,
    )


class Copy:
    """A copy of an example's folder, where its README is tried: what the compiler makes stays out of the source."""

    def __init__(self, example):
        self.place = folder() / example
        shutil.copytree(readme.EXAMPLES / example, self.place)

    def run(self, example, line):
        """As readme.run(): a line of shell, its stderr joined to its stdout."""
        return command("sh", "-c", f"exec 2>&1\n{line}", cwd=self.place, env=as_installed(), limit=90)
