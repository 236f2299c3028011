"""A cluster to measure: a network namespace that is the node, one that is the world around it, and a root folder.

Everything is taken away again when the `with` block ends, however it ends. Nothing here listens in the machine's own
network namespace, so that several benches and a user's own cluster do not meet.
"""

import contextlib
import ctypes
import datetime
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

NODE_NAME = "node-1"
NODE_ADDRESS = "198.51.100.2"
WORLD_ADDRESS = "198.51.100.1"
API_PORT = 6443
CLUSTER_DNS = "10.96.0.10"
# Where giving up begins; nothing is judged by it.
PATIENCE = 120.0

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


class BenchError(Exception):
    """Something did not happen that the measurement needs."""


def run(*command, **options):
    """Runs a command that must succeed and returns what it printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def until(look, what, patience=PATIENCE, interval=0.02):
    """Repeats `look` until it finds something."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise BenchError(f"waited {patience:.0f} s in vain for {what}")
        time.sleep(interval)
    return found


@contextlib.contextmanager
def inside(namespace):
    """Sockets that this thread makes in the block belong to the namespace, also afterwards."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)


def _enter(file):
    if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "failed to enter a network namespace")


class Connection(http.client.HTTPSConnection):
    """A connection to the API server out of the node's namespace."""

    def __init__(self, namespace, context):
        super().__init__("127.0.0.1", API_PORT, context=context)
        self._namespace, self._context_ = namespace, context

    def connect(self):
        with inside(self._namespace):
            plain = socket.create_connection((self.host, self.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context_.wrap_socket(plain, server_hostname=self.host)


class Cluster:
    """Namespaces and a root folder; `up` and `down` start and stop Canopus there as often as wanted."""

    def __init__(self, binary, images, parent=None):
        self._binary, self._images, self._parent = os.path.abspath(binary), images, parent
        name = f"{os.getpid()}-{next(_numbers)}"
        self.namespace, self._world = f"canopus-bench-node-{name}", f"canopus-bench-world-{name}"
        self.cgroup = f"canopus-bench-{name}"
        self.root = None
        self._tls = None
        # What others started in the cluster and must take away while it still runs.
        self.before_down = []

    def __enter__(self):
        try:
            self._prepare()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and self.root:
            print(f"bench: the end of the cluster's log:\n{self.log_tail()}", file=sys.stderr)
        self._remove()

    def _prepare(self):
        for namespace in (self.namespace, self._world):
            run("ip", "netns", "add", namespace)
            self._ip(namespace, "link set lo up")
        self._ip(self.namespace, f"link add eth0 type veth peer name eth0 netns {self._world}")
        for namespace, address in ((self.namespace, NODE_ADDRESS), (self._world, WORLD_ADDRESS)):
            self._ip(namespace, f"address add {address}/24 dev eth0")
            self._ip(namespace, "link set eth0 up")
        self._ip(self.namespace, f"route add default via {WORLD_ADDRESS}")
        self.root = tempfile.mkdtemp(prefix="canopus-bench-", dir=self._parent)
        os.mkdir(f"{self.root}/images")
        for image in self._images:
            shutil.copy(image, f"{self.root}/images/")

    def _ip(self, namespace, arguments):
        run("nsenter", f"--net=/run/netns/{namespace}", "--", "ip", *arguments.split())

    def _remove(self):
        # A second signal must not leave half of it behind.
        # (A handler that does nothing, because what is ignored would be ignored by the children too.)
        handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            recorded = [self.recorded("run/canopus.pid"), self.recorded("containerd/containerd.pid")] if self.root else []
            if self.root and os.path.exists(self.root):
                try:
                    for take_away in self.before_down:
                        take_away()
                    run(*self._canopus("down", "--purge"), env=self._environment(), timeout=PATIENCE, start_new_session=True)
                except (BenchError, subprocess.TimeoutExpired) as error:
                    print(f"bench: {error}", file=sys.stderr)
                    for pid in recorded:
                        if pid and self._is_ours(pid):
                            os.kill(pid, signal.SIGKILL)
                    print(f"bench: {self.root} was left for a look at it", file=sys.stderr)
            self._end_what_is_left()
            remove_cgroups(self.cgroup)
            for namespace in (self.namespace, self._world):
                if os.path.exists(f"/run/netns/{namespace}"):
                    subprocess.run(["ip", "netns", "del", namespace], stdin=subprocess.DEVNULL, check=False)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _end_what_is_left(self):
        """Ends processes that `down` should have ended, and says so: those started with this very root folder, whose
        name no other process knows, and their children."""
        if self.root is None or os.path.exists(self.root):
            return
        for pid in filter(self._is_ours, filter(str.isdigit, os.listdir("/proc"))):
            print(f"bench: canopus down left process {pid} behind; ending it", file=sys.stderr)
            for process in [*children(pid), int(pid)]:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)

    def _is_ours(self, pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            return self.root in file.read()
        return False

    def recorded(self, file):
        """The process id that the product wrote down."""
        with contextlib.suppress(OSError, ValueError), open(f"{self.root}/{file}") as text:
            return int(text.read())
        return None

    def log_tail(self, lines=30):
        with contextlib.suppress(OSError), open(f"{self.root}/log/canopus.log", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
        return "(none)"

    def _canopus(self, *arguments):
        return ("nsenter", f"--net=/run/netns/{self.namespace}", "--", self._binary, *arguments, "--root-dir", self.root)

    def _environment(self):
        # A user's own settings must not reach in.
        kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG" and not key.startswith("CANOPUS")}
        return kept | {"HOME": self.root}

    def up(self):
        """Starts Canopus. Returns what `canopus up` printed, the seconds until it said that the cluster works, and the
        seconds until that was seen to be true from outside."""
        command = self._canopus("up", "--no-kubeconfig", "--node-name", NODE_NAME, "--wait-seconds", str(int(PATIENCE)))
        # What is dirty from before would be paid for by the first fsync.
        os.sync()
        # Heartbeats count in whole seconds: one of an earlier life must not pass for one of this.
        time.sleep(1 - time.time() % 1)
        began = datetime.datetime.now(datetime.timezone.utc)
        with tempfile.TemporaryFile("w+") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment(), start_new_session=True
            )
            try:
                code = process.wait()
            except BaseException:
                # Half a start cannot be taken back in order: its processes may not be on record yet.
                process.wait()
                raise
            said = time.monotonic() - started
            output.seek(0)
            text = output.read()
        if code != 0:
            raise BenchError(f"canopus up failed:\n{text}")
        self._tls = None
        api = Api(self)
        until(lambda: self._is_ready(api, began), "a heartbeat of the node that says Ready")
        until(self._dns_answers, "DNS to know the API server")
        return text, said, time.monotonic() - started

    @staticmethod
    def _is_ready(api, since):
        conditions = api.ok("GET", f"/api/v1/nodes/{NODE_NAME}")["status"]["conditions"]
        ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
        since = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        return ready and ready["status"] == "True" and ready["lastHeartbeatTime"] >= since

    def _dns_answers(self):
        with inside(self.namespace):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.settimeout(0.5)
            try:
                client.sendto(dns_query("kubernetes.default.svc.cluster.local"), (CLUSTER_DNS, 53))
                header = client.recv(1500)[:12]
            except OSError:
                return False
        _, flags, _, answers, _, _ = struct.unpack("!6H", header)
        return not flags & 0xF and answers > 0

    def down(self):
        run(*self._canopus("down"), env=self._environment())

    def connection(self):
        """A new connection as the administrator."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=f"{self.root}/pki/ca.crt")
            self._tls.load_cert_chain(f"{self.root}/pki/admin.crt", f"{self.root}/pki/admin.key")
        return Connection(self.namespace, self._tls)


class Api:
    """One kept connection to the API server that talks JSON."""

    def __init__(self, cluster):
        self._connection = cluster.connection()

    def call(self, method, path, body=None, kind="application/json"):
        """Code and decoded answer."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text.startswith(b"{") else text.decode(errors="replace")

    def ok(self, method, path, body=None, **options):
        code, answer = self.call(method, path, body, **options)
        if code >= 300:
            raise BenchError(f"{method} {path}: {code} {answer.get('message') if isinstance(answer, dict) else answer}")
        return answer


def children(pid):
    """Of all threads of a process."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found.extend(map(int, file.read().split()))
    return found


def dns_query(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def remove_cgroups(name):
    """Removes the empty cgroups of this name in all hierarchies."""
    for base in ["/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir(follow_symlinks=False))]:
        for folder, _, _ in os.walk(os.path.join(base, name), topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
