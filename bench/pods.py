"""Pods, and their yardstick: the same image started by `ctr` in the same containerd at nearly the same time."""

import concurrent.futures
import json
import threading
import time

from cluster import NODE_NAME, PATIENCE, BenchError, run, until

NAMESPACE = "bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
IMAGE = "busybox:latest"
# The yardstick's images live in a namespace of containerd that the CRI does not look at.
CTR_NAMESPACE = "bench"
CTR_AT_ONCE = 8
# How long the controllers get before the bench does their work, saying so.
CONTROLLERS_PATIENCE = 10.0


def prepare(cluster, api):
    """Makes the namespace ready for pods; returns what the cluster did not do by itself."""
    api.ok("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    with open(f"{cluster.root}/pki/ca.crt") as file:
        authority = file.read()
    helped = []
    for collection, kind, name, content in (
        ("serviceaccounts", "ServiceAccount", "default", {}),
        ("configmaps", "ConfigMap", "kube-root-ca.crt", {"data": {"ca.crt": authority}}),
    ):
        path = f"/api/v1/namespaces/{NAMESPACE}/{collection}"
        if not _comes(lambda: api.call("GET", f"{path}/{name}")[0] == 200):
            api.ok("POST", path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content})
            helped.append(f"made {kind} {name}")
    node = f"/api/v1/nodes/{NODE_NAME}"
    if not _comes(lambda: not _not_ready_taints(api.ok("GET", node))):
        taints = api.ok("GET", node)["spec"]["taints"]
        kept = [taint for taint in taints if not taint["key"].startswith("node.kubernetes.io/not-ready")]
        api.ok("PATCH", node, {"spec": {"taints": kept or None}}, kind="application/merge-patch+json")
        helped.append("took the taint node.kubernetes.io/not-ready off the node")
    return helped


def _comes(look):
    try:
        return until(look, "the controllers", CONTROLLERS_PATIENCE)
    except BenchError:
        return False


def _not_ready_taints(node):
    return [taint for taint in node["spec"].get("taints") or [] if taint["key"] == "node.kubernetes.io/not-ready"]


def manifest(name):
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    # `sleep` as process 1 hears no SIGTERM; a short grace keeps taking away out of the next measurement.
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


class Watch:
    """Follows all pods of the namespace and keeps the moment at which each stage of a pod was first heard of."""

    def __init__(self, cluster, api):
        revision = api.ok("GET", PODS)["metadata"]["resourceVersion"]
        self._connection = cluster.connection()
        self._connection.request("GET", f"{PODS}?watch=true&resourceVersion={revision}", headers={"Accept": "application/json"})
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            raise BenchError(f"the watch failed: {self._response.read()[:500]}")
        self._changed = threading.Condition()
        self._stages, self._last, self._ended = {}, {}, None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        try:
            while line := self._response.readline():
                heard = time.monotonic()
                event = json.loads(line)
                with self._changed:
                    self._note(event, heard)
                    self._changed.notify_all()
            why = "the watch ended"
        except (OSError, ValueError, AttributeError) as error:
            why = f"the watch failed: {error}"
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def _note(self, event, heard):
        pod = event["object"]
        if event["type"] == "ERROR":
            raise ValueError(pod.get("message"))
        name, status = pod["metadata"]["name"], pod.get("status", {})
        stages = self._stages.setdefault(name, {})
        self._last[name] = status
        stages.setdefault("created", heard)
        if pod["spec"].get("nodeName"):
            stages.setdefault("scheduled", heard)
        if status.get("phase") == "Running":
            stages.setdefault("running", heard)
        if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions", [])):
            stages.setdefault("ready", heard)
        if event["type"] == "DELETED":
            stages.setdefault("deleted", heard)

    def wait(self, names, stage):
        """The moments at which the pods reached a stage."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while missing := [name for name in names if stage not in self._stages.get(name, {})]:
                if self._ended or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    why = self._ended or "waited in vain"
                    raise BenchError(f"{why}; not {stage}: {missing}; {missing[0]} is {json.dumps(self._last.get(missing[0]))}")
            return [self._stages[name][stage] for name in names]

    def stages(self, name):
        with self._changed:
            return dict(self._stages[name])


def start(api, watch, names):
    """Creates pods one after the other without waiting for them; seconds from the first request to each one's stages."""
    began = time.monotonic()
    sent = {}
    for name in names:
        sent[name] = time.monotonic()
        api.ok("POST", PODS, manifest(name))
    together = max(watch.wait(names, "running")) - began
    watch.wait(names, "ready")
    each = [{stage: at - sent[name] for stage, at in watch.stages(name).items()} for name in names]
    return together, each


def remove(api, watch, names, reference):
    for name in names:
        api.ok("DELETE", f"{PODS}/{name}")
    watch.wait(names, "deleted")
    # The next measurement begins when containerd is done with this one.
    until(lambda: not reference.tasks("k8s.io"), "containerd to have ended all pods")


class Reference:
    """`ctr run` of pause and then of the image: a sandbox and a container without network, API, kubelet or CRI."""

    def __init__(self, cluster, archives):
        self._cluster = cluster
        self._base = ["ctr", "--address", f"{cluster.root}/containerd/containerd.sock", "--namespace"]
        self._count = 0
        cluster.before_down.append(self._remove)
        for archive in archives:
            run(*self._base, CTR_NAMESPACE, "images", "import", archive)
        images = run(*self._base, CTR_NAMESPACE, "images", "list", "-q").split()
        self._pause = next(image for image in images if "pause" in image)
        self._image = next(image for image in images if image.endswith(IMAGE))

    def tasks(self, namespace):
        return run(*self._base, namespace, "tasks", "list", "-q").split()

    def start(self, count=1):
        """Seconds until `count` pairs run; they are taken away again afterwards."""
        pairs = [self._next() for _ in range(count)]
        try:
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(CTR_AT_ONCE) as pool:
                list(pool.map(self._start, pairs))
            return time.monotonic() - began
        finally:
            self._remove()

    def _remove(self):
        for name in self.tasks(CTR_NAMESPACE):
            run(*self._base, CTR_NAMESPACE, "tasks", "delete", "--force", name)
        for name in run(*self._base, CTR_NAMESPACE, "containers", "list", "-q").split():
            run(*self._base, CTR_NAMESPACE, "containers", "delete", name)

    def _next(self):
        self._count += 1
        return f"reference-{self._count}"

    def _start(self, name):
        # No path here is in the way of the cluster's own pods: not the cgroup, not the name, not the namespace.
        options = ["run", "--detach", "--null-io", "--cgroup"]
        command = [*self._base, CTR_NAMESPACE, *options]
        run(*command, f"/{self._cluster.cgroup}/{name}-sandbox", self._pause, f"{name}-sandbox")
        run(*command, f"/{self._cluster.cgroup}/{name}", self._image, name, "sleep", "3600")
