"""What is told at the end of a run: --stats, --trace, --report, and `interlace graph`. Called by the host (tell.c), in the
main interpreter, when no worker is left."""

import os
import sys


def tell(words, stats, trace, report, graph, graph_path, graph_fd):
    """Tell what is wanted, each though another fails; return whether all of it could be written."""
    from interlace import _accounts, _bottleneck

    accounts = _accounts.Accounts()
    verdict = _bottleneck.find(accounts)

    def trace_pieces():
        from interlace import _trace

        return _trace.pieces(accounts, words)

    def report_pieces():
        from interlace import _report

        return [_report.page(accounts, verdict, words)]

    def graph_pieces():
        from interlace import _network

        return [_network.drawn(_network.of_run(accounts, verdict), graph)]

    def stats_pieces():
        from interlace import _shown, _stats

        return [f"\n{_stats.tables(accounts)}\n{_shown.printable(verdict.sentence)}\n"]

    wanted = []
    if trace is not None:
        wanted.append((trace, trace_pieces))
    if report is not None:
        wanted.append((report, report_pieces))
    if graph is not None:
        wanted.append((graph_path or graph_fd, graph_pieces))
    if stats:
        wanted.append((sys.stderr, stats_pieces))
    return all([_write(place, pieces) for place, pieces in wanted])  # a list: none is left out


def draw(stages, form, path, fd):
    """Draw the network of a pipeline that is not run: (name, replicas) of each stage."""
    from interlace import _network

    return _write(path or fd, lambda: [_network.drawn(_network.of_pipe(stages), form)])


def _write(place, pieces):
    """Write what pieces() gives to a path, a descriptor or a stream; return whether that could be done, and say if not."""
    try:
        if place is sys.stderr:
            for piece in pieces():
                place.write(piece)
            return True
        with open(place, "w", encoding="utf-8", errors="replace") as file:
            for piece in pieces():
                file.write(piece)
    except Exception as error:
        _complain(place, error)
        return False
    return True


def _complain(place, error):
    from interlace import _shown

    name = repr(os.fspath(place)) if isinstance(place, str) else "the accounts" if place is sys.stderr else "standard output"
    why = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    try:
        sys.stderr.write(f"interlace: cannot write {name}: {_shown.printable(' '.join(why.split()))}\n")
    except (AttributeError, OSError):  # standard error is closed, or full
        pass
