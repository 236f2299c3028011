"""What was measured, as lines of JSON for later comparison and as a table for people."""

import datetime
import hashlib
import json
import math
import os
import statistics
import subprocess
import sys


def percentile(values, share):
    """Nearest rank: a value that was really measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def load():
    return [round(value, 2) for value in os.getloadavg()]


def memory_total():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def file_system(path):
    done = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Recorder:
    """Writes each result as soon as it is there, so that a later failure loses nothing."""

    def __init__(self, path, binary, root_parent):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._file = open(path, "w")
        self._rows = []
        relative = os.path.relpath(binary)
        # Which binary it was must be told without the layout of somebody's machine.
        self._common = {
            "command": " ".join(["bench/run", *sys.argv[1:]]),
            "commit": _commit(),
            "binary": os.path.basename(binary) if relative.startswith("..") else relative,
            "binary_bytes": os.path.getsize(binary),
            "binary_sha256": _sha256(binary),
            "kernel": os.uname().release,
            "containerd": _containerd(),
            "file_system": file_system(root_parent),
            "nproc": os.cpu_count(),
            "mem_total_bytes": memory_total(),
        }

    def add(self, measure, unit, values, load_before, goal=None, **more):
        """One measure; `goal` is what the project wants its median to be at most, for the reader only."""
        record = {
            "measure": measure,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "unit": unit,
            "n": len(values),
            "median": round(statistics.median(values), 4),
            "p90": round(percentile(values, 0.9), 4),
            "values": [round(value, 4) for value in values],
            "goal": goal,
            "load_before": load_before,
            "load_after": load(),
            **more,
            **self._common,
        }
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        self._rows.append(record)
        return record

    def median(self, measure):
        return next((row["median"] for row in self._rows if row["measure"] == measure), None)

    def table(self):
        head = ["measure", "n", "median", "p90", "min", "max", "unit", "goal"]
        rows = [
            [row["measure"], row["n"], row["median"], row["p90"], min(row["values"]), max(row["values"]), row["unit"], row["goal"] or ""]
            for row in self._rows
        ]
        texts = [[f"{cell:.3f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell) for cell in row] for row in [head, *rows]]
        widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
        return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in texts)


def _commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _containerd():
    words = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return words[2] if len(words) > 2 else None
