"""Take a census of the source of Python's own standard library, with a parse worker for each core:

    interlace run demo.py [DIR]

Then it takes it again in one interpreter, with the same functions and no channels, and compares the times.
"""

import os
import sys
import time

import interlace
from list import python_files
from parse import summarize
from tally import table, tally


def list_files(folder, paths):
    paths.send_many(python_files(folder))


def parse_files(paths, summaries):
    summaries.send_many(map(summarize, paths))


def census_in_stages(folder, parse_workers):
    with interlace.Group("census") as group:
        send_path, paths = interlace.channel(64, name="paths")
        send_summary, summaries = interlace.channel(64, name="summaries")
        group.start(list_files, folder, send_path)
        for _ in range(parse_workers):
            group.start(parse_files, paths, send_summary)
        del send_path, paths, send_summary  # only the workers hold them now
        return tally(summaries)  # ends when the last parse worker has


def census_in_one(folder):
    return tally(map(summarize, python_files(folder)))


def timed(census, *args):
    start = time.perf_counter()
    result = census(*args)
    return result, time.perf_counter() - start


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.__file__)
    workers = os.process_cpu_count()
    for path in python_files(folder):  # have every file in the system's cache, whichever census comes first
        with open(path, "rb") as file:
            file.read()

    census, seconds = timed(census_in_stages, folder, workers)
    same_census, seconds_in_one = timed(census_in_one, folder)
    if census != same_census:
        sys.exit("the two censuses differ")

    print(f"Python source in {folder}\n\n{table(census)}\n")
    print(
        f"{census[0]['files']} files in {seconds:.2f} s with {workers} parse workers, "
        f"{seconds_in_one:.2f} s in one interpreter: speed-up {seconds_in_one / seconds:.2f}"
    )


main()
