"""Reports for the tests of --report: of a run with all that a report can have."""

from support import folder, run

SCRIPT = """
    import interlace, time

    def feed(out):
        out.send_many(range(60))

    def work(jobs, answers):
        for n in jobs:
            time.sleep(0.005)
            answers.send(n)
            if n == 59:
                raise ValueError("<planted> & escaped")

    with interlace.Group() as group:
        sender, jobs = interlace.channel(8, name="<jobs>")
        answers, results = interlace.channel(8, name="answers")
        group.start(feed, sender)
        for _ in range(2):
            group.start(work, jobs, answers)
        del sender, jobs, answers
        print(sum(results))
"""


def report():
    """The path of a report, and how the run ended."""
    path = folder() / "report.html"
    return path, run(SCRIPT, words=["--stats", "--report", str(path)])
