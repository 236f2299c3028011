// What a program written with npm's `@kubernetes/client-node` does. Arguments: the folder with node_modules, a kubeconfig
// and a namespace, which is made here.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import net from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const [modules, kubeconfig, namespace] = process.argv.slice(2);
const k8s = createRequire(`${modules}/`)('@kubernetes/client-node');

const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const typed = (type) => k8s.setHeaderOptions('Content-Type', type);

async function eventually(what, holds) {
  const deadline = Date.now() + 120_000;
  while (Date.now() < deadline) {
    if (await holds()) return;
    await sleep(100);
  }
  throw new Error(`never came true: ${what}`);
}

async function code(promise) {
  return promise.then(() => 200, (error) => error.code);
}

async function writes() {
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  await eventually('the service account', async () =>
    (await core.listNamespacedServiceAccount({ namespace })).items.length > 0);
  const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'a' }, data: { k: 'v' } } });
  assert.ok(made.metadata.uid);
  const revision = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;

  const seen = [];
  const watched = new Promise((resolve, reject) => {
    new k8s.Watch(config).watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: revision, fieldSelector: 'metadata.name=a' },
      (type, object) => {
        seen.push([type, object.data]);
        if (type === 'DELETED') resolve();
      },
      reject,
    );
  });
  await core.patchNamespacedConfigMap(
    { name: 'a', namespace, body: { data: { more: '1' } } }, typed(k8s.PatchStrategy.MergePatch));
  await core.patchNamespacedConfigMap(
    { name: 'a', namespace, body: [{ op: 'remove', path: '/data/more' }] }, typed(k8s.PatchStrategy.JsonPatch));
  await core.patchNamespacedConfigMap(
    { name: 'a', namespace, body: { data: { k: 'w' } } }, typed(k8s.PatchStrategy.StrategicMergePatch));
  await core.deleteNamespacedConfigMap({ name: 'a', namespace });
  await watched;
  assert.deepEqual(seen, [
    ['MODIFIED', { k: 'v', more: '1' }], ['MODIFIED', { k: 'v' }], ['MODIFIED', { k: 'w' }], ['DELETED', { k: 'w' }],
  ]);
  assert.equal(await code(core.readNamespacedConfigMap({ name: 'a', namespace })), 404);
}

async function applies() {
  const objects = k8s.KubernetesObjectApi.makeApiClient(config);
  const wanted = (value) => ({
    apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'own', namespace }, data: { k: value },
  });
  const apply = (value, manager, force) =>
    objects.patch(wanted(value), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
  await apply('v', 'one', false);
  assert.equal(await code(apply('w', 'two', false)), 409);
  const got = await apply('w', 'two', true);
  assert.equal(got.data.k, 'w');
  assert.ok(got.metadata.managedFields.some((own) => own.manager === 'two' && own.operation === 'Apply'));
}

async function reachesAPod() {
  const containers = [{ name: 'c', image: 'nginx', imagePullPolicy: 'Never' }];
  await core.createNamespacedPod({ namespace, body: { metadata: { name: 'web' }, spec: { containers } } });
  await eventually('the pod runs', async () =>
    (await core.readNamespacedPod({ name: 'web', namespace })).status.phase === 'Running');

  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const texts = ['', ''];
  stdout.on('data', (data) => { texts[0] += data; });
  stderr.on('data', (data) => { texts[1] += data; });
  const status = await new Promise((resolve, reject) => {
    const command = ['sh', '-c', 'echo out; echo err >&2; read line; echo $line; exit 3'];
    new k8s.Exec(config)
      .exec(namespace, 'web', 'c', command, stdout, stderr, stdin, false, resolve)
      .then(() => stdin.write('in\n'), reject);
  });
  assert.deepEqual(texts, ['out\nin\n', 'err\n']);
  assert.equal(status.details.causes.find((cause) => cause.reason === 'ExitCode').message, '3');

  const forward = new k8s.PortForward(config);
  const server = net.createServer((socket) => forward.portForward(namespace, 'web', [80], socket, null, socket));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const answer = () => new Promise((resolve, reject) => {
    const socket = net.connect(server.address().port, '127.0.0.1');
    let text = '';
    socket.on('data', (data) => {
      text += data;
      if (text.includes('</html>')) socket.destroy();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
    socket.write('GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n');
  });
  await eventually('the forwarded port answers', async () => (await answer()).startsWith('HTTP/1.1 200'));
  server.close();
  await core.deleteNamespacedPod({ name: 'web', namespace, gracePeriodSeconds: 0 });
}

await writes();
await applies();
await reachesAPod();
await core.deleteNamespace({ name: namespace });
console.log('fine');
process.exit(0);
