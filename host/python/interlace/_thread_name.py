"""The worker's name is that of its thread in Python, too: what logging's %(threadName)s shows.

threading costs a tenth of a worker's start, so it is named when somebody imports it.
"""

import sys


class _Watch:
    """A finder that waits for one module."""

    def __init__(self, name):
        self._name = name

    def find_spec(self, module, path=None, target=None):
        if module != "threading":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(module, path, target)
            if spec is not None:
                spec.loader = _Naming(spec.loader, self._name)
                return spec
        return None


class _Naming:
    """A loader that names the thread once the module is there."""

    def __init__(self, loader, name):
        self._loader = loader
        self._name = name

    def __getattr__(self, attribute):
        return getattr(self._loader, attribute)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        module.current_thread().name = self._name


def name_thread(name):
    """Have this thread bear the name in Python's threading, now or when that is imported."""
    if "threading" in sys.modules:
        sys.modules["threading"].current_thread().name = name
    else:
        sys.meta_path.insert(0, _Watch(name))
