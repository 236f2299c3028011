"""What a program written with PyPI's `kubernetes` does. Arguments: a kubeconfig and a namespace, which is made here."""

import sys
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

kubeconfig, namespace = sys.argv[1:]
config.load_kube_config(kubeconfig)
core, apps = client.CoreV1Api(), client.AppsV1Api()


def eventually(what, holds):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.1)
    sys.exit(f"never came true: {what}")


def writes():
    core.create_namespace({"metadata": {"name": namespace}})
    eventually("the service account", lambda: core.list_namespaced_service_account(namespace).items)
    made = core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    assert made.data == {"k": "v"} and made.metadata.uid

    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.patch_namespaced_config_map("a", namespace, {"data": {"more": "1"}})
    core.patch_namespaced_config_map("a", namespace, [{"op": "remove", "path": "/data/more"}])
    core.delete_namespaced_config_map("a", namespace)
    seen = []
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_config_map, namespace, resource_version=revision,
        field_selector="metadata.name=a", timeout_seconds=120,
    ):
        seen.append((event["type"], event["object"].data))
        if event["type"] == "DELETED":
            watcher.stop()
    assert seen == [
        ("MODIFIED", {"k": "v", "more": "1"}), ("MODIFIED", {"k": "v"}), ("DELETED", {"k": "v"}),
    ], seen
    try:
        core.read_namespaced_config_map("a", namespace)
        sys.exit("a deleted object was read")
    except ApiException as error:
        assert error.status == 404, error


def applies():
    maps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"k": "v"}}
    maps.server_side_apply(body=wanted, name="own", namespace=namespace, field_manager="one")
    wanted["data"] = {"k": "w"}
    try:
        maps.server_side_apply(body=wanted, name="own", namespace=namespace, field_manager="two")
        sys.exit("a conflict was not told")
    except ApiException as error:
        assert error.status == 409 and "conflict with" in str(error.body), error
    got = maps.server_side_apply(
        body=wanted, name="own", namespace=namespace, field_manager="two", force_conflicts=True,
    )
    assert got.data.k == "w"
    managers = [(own.manager, own.operation) for own in got.metadata.managedFields]
    assert ("two", "Apply") in managers, managers


def scales():
    labels = {"app": "idle"}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="busybox")]),
    )
    spec = client.V1DeploymentSpec(replicas=0, selector=client.V1LabelSelector(match_labels=labels), template=template)
    apps.create_namespaced_deployment(
        namespace, client.V1Deployment(metadata=client.V1ObjectMeta(name="idle"), spec=spec),
    )
    apps.patch_namespaced_deployment_scale("idle", namespace, {"spec": {"replicas": 0}})
    assert apps.read_namespaced_deployment_scale("idle", namespace).status.selector == "app=idle"
    pages = core.list_namespaced_config_map(namespace, limit=1)
    assert len(pages.items) == 1 and pages.metadata._continue


def reaches_a_pod():
    container = client.V1Container(name="c", image="nginx", image_pull_policy="Never")
    core.create_namespaced_pod(
        namespace,
        client.V1Pod(metadata=client.V1ObjectMeta(name="web"), spec=client.V1PodSpec(containers=[container])),
    )
    eventually("the pod runs", lambda: core.read_namespaced_pod("web", namespace).status.phase == "Running")
    command = ["sh", "-c", "echo out; echo err >&2; cat; exit 3"]
    process = stream(
        core.connect_get_namespaced_pod_exec, "web", namespace, command=command,
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )
    process.write_stdin("in\n")
    out, err = "", ""
    deadline = time.monotonic() + 120
    while "in\n" not in out and time.monotonic() < deadline:
        process.update(timeout=1)
        out += process.read_stdout(timeout=1) if process.peek_stdout() else ""
        err += process.read_stderr(timeout=1) if process.peek_stderr() else ""
    process.close()
    assert (out, err) == ("out\nin\n", "err\n"), (out, err)
    finished = stream(
        core.connect_get_namespaced_pod_exec, "web", namespace, command=["sh", "-c", "exit 3"],
        stdin=False, stdout=True, stderr=True, tty=False, _preload_content=False,
    )
    finished.run_forever(timeout=120)
    assert finished.returncode == 3, finished.returncode

    def answer():
        forward = portforward(core.connect_get_namespaced_pod_portforward, "web", namespace, ports="80")
        connection = forward.socket(80)
        connection.setblocking(True)
        connection.sendall(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
        text = b""
        while part := connection.recv(4096):
            text += part
        return text

    eventually("the forwarded port answers", lambda: answer().startswith(b"HTTP/1.1 200"))
    assert isinstance(core.read_namespaced_pod_log("web", namespace), str)
    core.delete_namespaced_pod("web", namespace, grace_period_seconds=0)


writes()
applies()
scales()
reaches_a_pod()
core.delete_namespace(namespace)
print("fine")
