// npm_interop.js HOST:PORT [CA CERT KEY] - the main operations of the npm package etcd3.
'use strict';
const fs = require('fs');
const { Etcd3, EtcdLockFailedError, Range } = require('etcd3');

const [where, ca, cert, key] = process.argv.slice(2);
const tls = ca ? { credentials: { rootCertificate: fs.readFileSync(ca), certChain: fs.readFileSync(cert), privateKey: fs.readFileSync(key) } } : {};
const hosts = (ca ? 'https://' : 'http://') + where;
let count = 0;

function check(good, what) {
  count++;
  if (!good) throw new Error('FAIL ' + what);
}

async function fails(promise, what) {
  let failed = null;
  await promise.catch((error) => { failed = error; });
  check(failed !== null, what);
  return failed;
}

async function keys(client) {
  await client.put('npm/a').value('1');
  check(await client.get('npm/a').string() === '1' && await client.get('npm/none') === null, 'put, get');
  await client.put('npm/b').value('2');
  check(JSON.stringify(await client.getAll().prefix('npm/').strings()) === '{"npm/a":"1","npm/b":"2"}', 'getAll');
  check((await client.getAll().prefix('npm/').sort('Key', 'Descend').limit(1).keys())[0] === 'npm/b', 'sort, limit');
  check(await client.getAll().prefix('npm/').count() === 2, 'count');
  const done = await client.if('npm/a', 'Value', '==', '1').then(client.put('npm/a').value('3')).else(client.get('npm/a')).commit();
  check(done.succeeded && await client.get('npm/a').string() === '3', 'transaction');
  await client.stm().transact(async (tx) => { await tx.put('npm/a').value(await tx.get('npm/a').string() + '!'); });
  check(await client.get('npm/a').string() === '3!', 'software transactional memory');
  check((await client.delete().prefix('npm/')).deleted === '2', 'delete');
}

async function leases(client) {
  const lease = client.lease(30);
  await lease.put('npm/leased').value('x');
  check(await client.get('npm/leased').string() === 'x', 'lease: put');
  await lease.keepaliveOnce();
  check((await client.leaseClient.leaseTimeToLive({ ID: await lease.grant(), keys: true })).keys.length === 1, 'lease: time to live');
  await lease.revoke();
  check(await client.get('npm/leased') === null, 'lease: revoke');
}

async function watches(client) {
  const watcher = await client.watch().prefix('npm/watched/').withPreviousKV().create();
  const seen = [];
  const all = new Promise((resolve) => {
    watcher.on('put', (kv, previous) => { seen.push(`${kv.key} ${kv.value} ${previous ? previous.value : ''}`); });
    watcher.on('delete', (kv, previous) => { seen.push(`${kv.key} gone ${previous.value}`); resolve(); });
  });
  await client.put('npm/watched/x').value('1');
  await client.put('npm/watched/x').value('2');
  await client.delete().key('npm/watched/x');
  await all;
  check(seen.join() === 'npm/watched/x 1 ,npm/watched/x 2 1,npm/watched/x gone 2', 'watch: ' + seen.join());
  await watcher.cancel();
}

async function locks(client) {
  const lock = client.lock('npm/lock').ttl(10);
  await lock.acquire();
  check(await fails(client.lock('npm/lock').ttl(10).acquire(), 'lock: taken') instanceof EtcdLockFailedError, 'lock: why');
  await lock.release();
  check(await client.lock('npm/lock').ttl(10).do(async () => 'inside') === 'inside', 'lock: do');
  const election = client.election('npm-election', 10);
  const campaign = election.campaign('me');
  await new Promise((resolve, reject) => { campaign.on('elected', resolve); campaign.on('error', reject); });
  check(await election.leader() === 'me', 'election');
  await campaign.resign();
}

async function rest(client) {
  check((await client.maintenance.status()).version.startsWith('3.'), 'status');
  check((await client.cluster.memberList({})).members.length === 1, 'members');
  let bytes = 0;
  const snapshot = await client.maintenance.snapshot();
  await new Promise((resolve, reject) => {
    snapshot.on('data', (part) => { bytes += part.blob.length; });
    snapshot.on('end', resolve);
    snapshot.on('error', reject);
  });
  check(bytes > 8192 && bytes % 512 === 32, `snapshot of ${bytes} bytes`);
  check((await client.maintenance.alarm({ action: 0, memberID: 0, alarm: 0 })).alarms.length === 0, 'alarms');
  await client.maintenance.defragment();
}

async function users(client) {
  const role = await client.role('npm').create();
  await role.grant({ permission: 'Readwrite', range: Range.prefix('npm/') });
  const root = await client.user('root').create('secret');
  await root.addRole('root');
  const user = await client.user('npm').create('word');
  await user.addRole('npm');
  await client.auth.authEnable();
  const mine = new Etcd3({ hosts, ...tls, auth: { username: 'npm', password: 'word' } });
  const admin = new Etcd3({ hosts, ...tls, auth: { username: 'root', password: 'secret' } });
  await mine.put('npm/mine').value('1');
  await fails(mine.put('other').value('1'), 'a key the role does not have');
  await admin.auth.authDisable();
  await client.user('npm').delete();
  await client.user('root').delete();
  await client.role('npm').delete();
  mine.close();
  admin.close();
}

async function main() {
  const client = new Etcd3({ hosts, ...tls });
  for (const part of [keys, leases, watches, locks, rest]) await part(client);
  if (ca) await users(client); // grpc-js sends tokens over TLS only
  client.close();
  console.log(`npm_interop.js: ${count} checks passed${ca ? ' (TLS)' : ''}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
