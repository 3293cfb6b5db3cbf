"""What is told at the end of a run: --stats, --trace, --report, and `interlace graph`. Called by the host (tell.c), in the
main interpreter, when no worker is left."""

import os
import sys


def tell(words, stats, trace, report, graph, graph_path, graph_fd):
    """Tell what is wanted; return whether all of it could be written."""
    from interlace import _accounts, _bottleneck

    accounts = _accounts.Accounts()
    verdict = _bottleneck.find(accounts)
    good = True
    if trace is not None:
        from interlace import _trace

        good &= _write(trace, _trace.pieces(accounts, words))
    if report is not None:
        from interlace import _report

        good &= _write(report, [_report.page(accounts, verdict, words)])
    if graph is not None:
        from interlace import _network

        good &= _write(graph_path or graph_fd, [_network.drawn(_network.of_run(accounts, verdict), graph)])
    if stats:
        from interlace import _stats

        sys.stderr.write(f"\n{_stats.tables(accounts)}\n{verdict.sentence}\n")
    return bool(good)


def draw(stages, form, path, fd):
    """Draw the network of a pipeline that is not run: (name, replicas) of each stage."""
    from interlace import _network

    return _write(path or fd, [_network.drawn(_network.of_pipe(stages), form)])


def _write(path, pieces):
    try:
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        name = os.fspath(path) if not isinstance(path, int) else "standard output"
        sys.stderr.write(f"interlace: cannot write {name!r}: {error.strerror}\n")
        return False
    return True
