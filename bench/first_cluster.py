"""Speed and memory of a whole cluster on one machine: start, idle, one pod, many pods. See README.md."""

import argparse
import os
import re
import signal
import sys
import tempfile
import time

import pods
import process
from cluster import Api, BenchError, Cluster
from record import Recorder, load

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1024 * 1024
_STEP = re.compile(r"^ +(.*) \(([0-9.]+) s\)$", re.MULTILINE)


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))
    binary = os.environ.get("CANOPUS", "target/release/canopus")
    archives = [os.path.join(arguments.images, f"{image}.tar") for image in ("pause", "busybox")]
    for needed, maker in [(binary, "make build"), *((archive, "cargo xtask images") for archive in archives)]:
        if not os.path.exists(needed):
            sys.exit(f"bench: {os.path.basename(needed)} is missing; make it with: {maker}")
    if os.geteuid() != 0:
        sys.exit("bench: only root can start containers and make network namespaces")
    recorder = Recorder(arguments.out, binary, arguments.root_parent)
    cluster = lambda: Cluster(binary, archives, arguments.root_parent)
    status = 0
    try:
        for part in (start, idle, pod_start, burst):
            if part.__name__ in arguments.only:
                print(f"bench: {part.__name__} ...", file=sys.stderr, flush=True)
                part(recorder, cluster, archives, arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        status = 1
    finally:
        print("bench: API requests and the rest in full:", os.path.relpath(arguments.out), file=sys.stderr)
        print(recorder.table())
        print_ratios(recorder)
    return status


def parse():
    parts = ["start", "idle", "pod_start", "burst"]
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--out", default=os.path.join(HERE, "results/latest.jsonl"), help="file of the results, as lines of JSON")
    parser.add_argument("--only", type=lambda text: text.split(","), default=parts, help=f"parts to measure, of {','.join(parts)}")
    parser.add_argument("--starts", type=int, default=5, help="clusters started cold and warm")
    parser.add_argument("--idle-seconds", type=float, default=60, help="length of the rest before and of each idle window")
    parser.add_argument("--idle-windows", type=int, default=3)
    parser.add_argument("--pods", type=int, default=10, help="pods started one after the other")
    parser.add_argument("--burst-pods", type=int, default=30, help="pods started at once")
    parser.add_argument("--bursts", type=int, default=3)
    parser.add_argument("--images", default="target/images", help="folder of pause.tar and busybox.tar")
    parser.add_argument("--root-parent", default=tempfile.gettempdir(), help="folder below which the clusters' root folders are made")
    return parser.parse_args()


def start(recorder, new_cluster, _archives, arguments):
    """From `canopus up` to node Ready and DNS answering, on a fresh root folder and again on the same."""
    before = load()
    records = {"cold": [], "warm": []}
    for _ in range(arguments.starts):
        with new_cluster() as cluster:
            for kind in records:
                printed, said, works = cluster.up()
                steps = {what: float(seconds) for what, seconds in _STEP.findall(printed) if not what.startswith("started")}
                records[kind].append({"works": works, "up_ended": round(said, 4), "steps": steps})
                cluster.down()
    for kind, goal in (("cold", "5"), ("warm", None)):
        recorder.add(f"start.{kind}", "s", [one.pop("works") for one in records[kind]], before, goal=goal, detail=records[kind])


def idle(recorder, new_cluster, _archives, arguments):
    """Memory after a rest; processor time, bytes and API writes of the windows after it."""
    with new_cluster() as cluster:
        cluster.up()
        api = Api(cluster)
        pid, containerd = cluster.recorded("run/canopus.pid"), cluster.recorded("containerd/containerd.pid")
        before = load()
        time.sleep(arguments.idle_seconds)
        memory, windows = [], []
        for _ in range(arguments.idle_windows):
            memory.append(process.memory(pid))
            windows.append(window(api, pid, containerd, arguments.idle_seconds))
        threads = process.threads(pid)
        beside = process.memory(containerd)
    seconds = arguments.idle_seconds
    recorder.add("idle.rss", "MiB", [one["rss"] / MIB for one in memory], before, goal="95.4", threads=threads, detail=memory)
    recorder.add("idle.pss", "MiB", [one["pss"] / MIB for one in memory], before)
    recorder.add("idle.containerd.rss", "MiB", [beside["rss"] / MIB], before)
    cpu = {part: [100 * one["cpu"][part] / one["seconds"] for one in windows] for part in ("own", "children", "containerd")}
    recorder.add("idle.cpu", "% of a core", cpu["own"], before, goal="1", window_seconds=seconds)
    recorder.add("idle.cpu.children", "% of a core", cpu["children"], before, window_seconds=seconds)
    recorder.add("idle.cpu.containerd", "% of a core", cpu["containerd"], before, window_seconds=seconds)
    recorder.add("idle.disk_writes", "KiB", [one["bytes"] / 1024 for one in windows], before, window_seconds=seconds)
    requests = [one["requests"] for one in windows]
    writes = [{key: count for key, count in one.items() if process.is_write(key)} for one in requests]
    unexpected = sorted({key for one in writes for key in one if not process.is_expected_when_idle(key)})
    recorder.add(
        "idle.api_writes", "writes", [sum(one.values()) for one in writes], before,
        window_seconds=seconds, requests=requests, unexpected_writes=unexpected,
    )
    print(f"bench: API writes while idle: {writes[-1]}")
    if unexpected:
        print(f"bench: neither leases nor status: {unexpected}")


def window(api, pid, containerd, seconds):
    requests = process.requests(api)
    own, children = process.cpu_seconds(pid)
    beside = process.cpu_seconds(containerd)[0]
    written, began = process.written_bytes(pid), time.monotonic()
    time.sleep(seconds)
    own_after, children_after = process.cpu_seconds(pid)
    beside_after = process.cpu_seconds(containerd)[0]
    took = time.monotonic() - began
    return {
        "seconds": took,
        "cpu": {"own": own_after - own, "children": children_after - children, "containerd": beside_after - beside},
        "bytes": process.written_bytes(pid) - written,
        "requests": process.difference(requests, process.requests(api)),
    }


def pod_start(recorder, new_cluster, archives, arguments):
    """One pod after the other, each followed by its yardstick, so that both see the same noise."""
    with new_cluster() as cluster:
        api, watch, reference, helped = ready_for_pods(cluster, archives)
        # The first of each pays for caches that the others find.
        names = [f"pod-{number}" for number in range(arguments.pods + 1)]
        before, each, references = load(), [], []
        for name in names:
            each.extend(pods.start(api, watch, [name])[1])
            pods.remove(api, watch, [name], reference)
            references.append(reference.start())
    first = {"first": round(each[0]["running"], 4), "helped": helped}
    each, references, first_reference = each[1:], references[1:], references[0]
    recorder.add("pod.running", "s", [one["running"] for one in each], before, goal="0.7", **first)
    recorder.add("pod.scheduled", "s", [one["scheduled"] for one in each], before)
    recorder.add("pod.ready", "s", [one["ready"] for one in each], before)
    recorder.add("pod.reference", "s", references, before, first=round(first_reference, 4))


def burst(recorder, new_cluster, archives, arguments):
    """Many pods at once, and as many yardsticks."""
    with new_cluster() as cluster:
        api, watch, reference, helped = ready_for_pods(cluster, archives)
        pid = cluster.recorded("run/canopus.pid")
        before, together, each, references, cpu = load(), [], [], [], []
        for round_number in range(arguments.bursts):
            names = [f"burst-{round_number}-{number}" for number in range(arguments.burst_pods)]
            cpu_before = sum(process.cpu_seconds(pid))
            took, one_each = pods.start(api, watch, names)
            cpu.append(sum(process.cpu_seconds(pid)) - cpu_before)
            together.append(took)
            each.extend(one["running"] for one in one_each)
            if round_number == 0:
                memory = process.memory(pid)
            pods.remove(api, watch, names, reference)
            references.append(reference.start(arguments.burst_pods))
    count = arguments.burst_pods
    recorder.add("burst.running", "s", together, before, goal="8", pods=count, helped=helped)
    recorder.add("burst.pod.running", "s", each, before, pods=count)
    recorder.add("burst.cpu", "CPU s", cpu, before, pods=count)
    recorder.add("burst.rss", "MiB", [memory["rss"] / MIB], before, pods=count)
    recorder.add("burst.reference", "s", references, before, pods=count, at_once=pods.CTR_AT_ONCE)


def ready_for_pods(cluster, archives):
    cluster.up()
    api = Api(cluster)
    helped = pods.prepare(cluster, api)
    for what in helped:
        print(f"bench: the cluster did not do it by itself: {what}", file=sys.stderr)
    return api, pods.Watch(cluster, api), pods.Reference(cluster, archives), helped


def print_ratios(recorder):
    for ours, reference in (("pod.running", "pod.reference"), ("burst.running", "burst.reference")):
        if (one := recorder.median(ours)) and (other := recorder.median(reference)):
            print(f"{ours} / {reference} = {one / other:.2f}")


if __name__ == "__main__":
    sys.exit(main())
