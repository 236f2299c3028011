"""What the kernel says about processes, and what the API server says about requests."""

import os
import re

_TICKS = os.sysconf("SC_CLK_TCK")
_SERIES = re.compile(r'^apiserver_request_total\{(.*)\} (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}


def memory(pid):
    """Bytes of memory: resident, and with shared pages divided among those who share them."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        fields = dict(line.split(":", 1) for line in file if line.startswith(("Rss:", "Pss:", "Pss_Anon:", "Pss_File:")))
    return {name.lower(): int(text.split()[0]) * 1024 for name, text in fields.items()}


def cpu_seconds(pid):
    """Processor time of the process itself, and of the children that it has waited for."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    user, system, child_user, child_system = (int(field) / _TICKS for field in fields[11:15])
    return user + system, child_user + child_system


def written_bytes(pid):
    with open(f"/proc/{pid}/io") as file:
        return int(dict(line.split(": ") for line in file)["write_bytes"])


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def requests(api):
    """Requests answered until now, by verb and resource."""
    counts = {}
    for line in api.ok("GET", "/metrics").splitlines():
        if not (match := _SERIES.match(line)):
            continue
        labels = dict(_LABEL.findall(match[1]))
        resource = labels["resource"] + (f".{labels['group']}" if labels.get("group") else "")
        subresource = f"/{labels['subresource'].lstrip('/')}" if labels.get("subresource") else ""
        key = f"{labels['verb']} {resource}{subresource}"
        counts[key] = counts.get(key, 0) + int(float(match[2]))
    return counts


def difference(before, after):
    return {key: count - before.get(key, 0) for key, count in sorted(after.items()) if count != before.get(key, 0)}


def is_write(key):
    return key.split()[0] in WRITES


def is_expected_when_idle(key):
    """Leases and status."""
    resource = key.split()[1]
    return resource.startswith("leases.") or resource.endswith("/status")
