"""A backend for joblib: its loops in workers.

    import interlace.joblib                    # before joblib: see below
    import joblib

    with joblib.parallel_config("interlace", n_jobs=4):
        print(joblib.Parallel()(joblib.delayed(pow)(2, n) for n in range(10)))

Importing this module registers the backend "interlace". joblib imports faulthandler, which does not load in a worker;
so this module imports joblib itself, with a stand-in for faulthandler, and is to be imported first. Of joblib's own
backends, "sequential" is the one that works in a worker.
"""

import sys
import types

from interlace import Executor


def _import_joblib():
    if "faulthandler" not in sys.modules:
        # loky switches it on in processes that it starts, which have the real one.
        stand_in = types.ModuleType("faulthandler", "In place of faulthandler while joblib is imported in a worker.")
        stand_in.is_enabled = lambda: True
        sys.modules["faulthandler"] = stand_in
    else:
        stand_in = None
    try:
        import joblib.parallel
    finally:
        if stand_in is not None:
            del sys.modules["faulthandler"]
    return joblib


joblib = _import_joblib()

from joblib._parallel_backends import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend  # noqa: E402


class Backend(AutoBatchingMixin, ParallelBackendBase):
    """What joblib calls: an Executor for each loop, or for each `with joblib.Parallel(...)`."""

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False

    def effective_n_jobs(self, n_jobs):
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(joblib.cpu_count() + 1 + n_jobs, 1)

    def configure(self, n_jobs=1, parallel=None, prefer=None, require=None, **options):
        count = self.effective_n_jobs(n_jobs)
        if count == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._futures = set()
        options = {**self.backend_kwargs, **options}  # among them some that are about other backends' memory
        own = {name: options[name] for name in ("initializer", "initargs", "isolation") if name in options}
        self._executor = Executor(count, preload=[__name__, *options.get("preload", ())], **own)
        return count

    def submit(self, func, callback=None):
        future = self._executor.submit(func)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future):
        return future.result()

    def terminate(self):
        self._executor.shutdown()
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready=True):
        for future in list(self._futures):
            future.cancel()

    def get_nested_backend(self):
        return SequentialBackend(nesting_level=self.nesting_level), None


joblib.register_parallel_backend("interlace", Backend)
