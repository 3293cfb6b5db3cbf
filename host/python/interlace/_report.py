"""The page of --report: one HTML file, which loads nothing from anywhere.

The network, where each worker's time went, the channels over time, tables, failures. The look and the little that moves are in
_report_look.py.
"""

import os
import shlex
import sys

from interlace import _network, _network_svg, _report_charts, _report_look, _stats
from interlace._shown import escape

_MOST = 64  # workers, and failures, shown one by one
_MOST_CHANNELS = 24


def page(accounts, verdict, words):
    """The whole text of the page."""
    network = _network.of_run(accounts, verdict)
    title = _command(words)
    used = [channel for channel in accounts.channels if channel.sent]
    used.sort(key=lambda channel: -channel.sent)
    parts = [
        _head(title),
        _top(accounts, verdict, title),
        _section(
            "network",
            "Network",
            "Boxes are stages, and the bars in them where their workers' time went; arrows are as thick as the traffic. "
            "Click a stage to find it below.",
            f'<div class="across">{_network_svg.picture(network)}</div>'
            f'<div class="upright">{_network_svg.picture(network, upright=True)}</div>{_legend()}',
        ),
        _section("timeline", "Timeline", "Where each worker's time went, moment by moment.", _timeline(accounts)),
    ]
    if used:
        about = (
            "Over time: how many messages waited in each channel (the area, below the dashed line of what it has room "
            "for), and how many a second came through (the line)."
        )
        cards = "".join(_channel(accounts, channel, verdict) for channel in used[:_MOST_CHANNELS])
        parts.append(_section("channels", "Channels", about, f'<div class="cards">{cards}</div>'))
    parts.append(_section("workers", "Workers", "", _workers_table(accounts)))
    failures = [worker for worker in accounts.workers if worker.failure]
    if failures:
        parts.append(_section("failures", f"Failures ({len(failures)})", "", "".join(map(_failure, failures[:_MOST]))))
    parts.append(_report_look.END)
    return "\n".join(parts)


def _command(words):
    """The command line, without what asks for this page and the like."""
    kept, rest = [], iter(words[1:])
    for word in rest:
        if word in ("--report", "--trace", "--metrics"):
            next(rest, None)
        elif not word.startswith(("--report=", "--trace=", "--metrics=")) and word != "--stats":
            kept.append(word)
    return shlex.join(["interlace", *kept])


def _head(title):
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_network_svg.STYLE}{_report_look.STYLE}</style>\n</head>\n<body>"
    )


def _section(name, title, about, body):
    about = f'<p class="about">{about}</p>' if about else ""
    return f'<section id="{name}"><h2>{title}</h2>{about}{body}</section>'


def _top(accounts, verdict, title):
    messages = sum(channel.sent for channel in accounts.channels)
    size = sum(channel.bytes for channel in accounts.channels)
    used = sum(worker.cpu for worker in accounts.workers)
    failed = sum(worker.failed for worker in accounts.workers)
    facts = [
        (f"{accounts.seconds:.2f} s", "in all"),
        (f"{len(accounts.workers):,}", "worker" + "s" * (len(accounts.workers) != 1)),
        (f"{messages:,}", f"messages, {_stats.bytes_text(size)}"),
        (f"{used / accounts.seconds:.1f} of {len(os.sched_getaffinity(0))}" if accounts.seconds else "-", "CPUs used"),
    ]
    if failed:
        facts.append((f"{failed:,}", "failed"))
    boxes = "".join(f'<div class="fact"><b>{value}</b><span>{what}</span></div>' for value, what in facts)
    version = f"CPython {sys.version.split()[0]}"
    return (
        f'<header><div class="bar"><span class="brand">interlace</span><span class="about">{version}</span>'
        f'<button id="theme" type="button" aria-label="light or dark">light / dark</button></div>'
        f'<h1><code>{escape(title)}</code></h1><p class="verdict">{escape(verdict.sentence)}</p>'
        f'<div class="facts">{boxes}</div></header><main>'
    )


_MEANINGS = {
    "busy": "busy",
    "input": "waiting for a message",
    "output": "waiting for room",
    "other": "waiting for other things",
    "starting": "starting",
}


def _legend():
    items = "".join(f'<li><i class="{kind}"></i>{meaning}</li>' for kind, meaning in _MEANINGS.items())
    return f'<ul class="legend">{items}</ul>'


def _timeline(accounts):
    rows = []
    for worker in accounts.workers[:_MOST]:
        rows.append(
            f'<div class="row{" failed" * worker.failed}" data-stage="{escape(worker.stage)}">'
            f'<span class="who" title="{escape(worker.name)}">{escape(worker.name)}</span>'
            f"{_report_charts.strip(accounts, worker)}</div>"
        )
    more = len(accounts.workers) - _MOST
    note = f'<p class="about">and {more:,} more workers</p>' if more > 0 else ""
    return (
        f'<div class="timeline" data-seconds="{accounts.seconds:.6f}">{"".join(rows)}'
        f'<div class="row axis"><span class="who"></span>{_report_charts.axis(accounts.seconds)}</div>'
        f'<div class="cursor" hidden><span></span></div></div>{note}{_legend()}'
    )


def _channel(accounts, channel, verdict):
    rate, chart = _report_charts.channel(accounts, channel)
    figures = [
        ("messages", f"{channel.sent:,}"),
        ("bytes", _stats.bytes_text(channel.bytes)),
        ("at most", f"{rate:,.0f} / s"),
        ("full", _share(channel.full)),
        ("empty", _share(channel.empty)),
    ]
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    hot = " hot" * (verdict.channel is channel)
    return (
        f'<article class="card{hot}"><h3 title="{escape(channel.name)}">{escape(channel.name)}'
        f"<small>room for {channel.capacity:,}</small></h3>{chart}<dl>{items}</dl></article>"
    )


def _share(share):
    return "-" if share is None else _stats.percent(share)


_COLUMNS = ("worker", "time", "starting", "busy", "input", "output", "other", "CPU")


def _workers_table(accounts):
    rows = []
    for worker in accounts.workers[: 4 * _MOST]:
        cells = [f"<td>{worker.seconds:.2f} s</td>"]
        for kind in ("starting", "busy", "input", "output", "other", "cpu"):
            share = getattr(worker, kind) / worker.seconds if worker.seconds else 0
            cells.append(f'<td data-sort="{share:.6f}">{_stats.percent(share)}</td>')
        failed = '<b class="bad">failed</b>' if worker.failed else ""
        rows.append(
            f'<tr data-stage="{escape(worker.stage)}"><th scope="row">{escape(worker.name)} {failed}</th>{"".join(cells)}</tr>'
        )
    head = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in _COLUMNS)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _failure(worker):
    lines = [line.strip(" |") for line in worker.failure.splitlines() if any(map(str.isalpha, line))]
    last = lines[-1] if lines else ""
    return (
        f"<details><summary><b>{escape(worker.name)}</b> <code>{escape(last)}</code></summary>"
        f"<pre>{escape(worker.failure)}</pre></details>"
    )
