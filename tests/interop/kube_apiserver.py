#!/usr/bin/env python3
"""kube_apiserver.py BIN KUBE_APISERVER [ETCD_BIN] - a real kube-apiserver stores its objects in etcd-server.

etcd-pki makes kubeadm's certificates; the apiserver (tried with 1.36.2; on loopback, without nodes) gets a server with TLS
and client certificates. What its users do goes through it: objects, server-side apply, lists of thousands in pages,
watches, custom resources, events that expire, encrypted secrets, compaction, a killed server, a snapshot restored; then
three members, killed and stopped under writes. Its log and metrics may hold nothing against its storage. With ETCD_BIN
the same with a real etcd, to compare. A kube-controller-manager and a kube-scheduler beside KUBE_APISERVER run too.
"""
import atexit, base64, http.client, json, os, re, shutil, ssl, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from suite import Server, Tally, b64, free_ports, put_down, temporary, wait_for

BIN, APISERVER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
REAL = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
OBJECTS = int(os.environ.get("OBJECTS", "3000"))
START_S = 300  # an apiserver registers some hundred kinds of objects first
DEFAULT = "/api/v1/namespaces/default"
MAPS, SECRETS, PODS = DEFAULT + "/configmaps", DEFAULT + "/secrets", DEFAULT + "/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CRDS, WHEELS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/example.com/v1/namespaces/default/wheels"
APPLY = "application/apply-patch+yaml"
# What an apiserver says when it is its storage that fails.
LINE = re.compile(r'^(\S+ )?[WE]\d{4} |"level":"(warn|error)"')
STORAGE_TROUBLE = re.compile(r"etcd|rpc error|transport|context deadline|clientconn|compacted|too old", re.I)
# It opens several connections at its start and drops some at once; and a page of a list came after a compaction.
HARMLESS = re.compile(r"operation was canceled|context canceled|use of closed network connection|OutOfRange desc = etcdserver: mvcc: required revision has been compacted")


def expect(fact, words):
    if not fact:
        raise AssertionError(str(words)[:600])


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    expect(done.returncode == 0, f"{command}: {done.stdout[-300:]} {done.stderr[-600:]}")
    return done.stdout


def make_pki(folder):
    run(os.path.join(BIN, "etcd-pki"), "kubeadm", "-q", "--dir", folder, "--node-name", "m1", "--key", "ecdsa-p256",
        "--apiserver-advertise-address", "127.0.0.1", "--etcd-server-cert-extra-sans", "127.0.0.1")


class Store(Server):
    """The storage: our server, or a real etcd, with the flags of kubeadm's manifest; `newer`: of 1.34 and later."""

    def __init__(self, root, pki, name="m1", newer=False):
        self.pem, self.probe_port = lambda path: os.path.join(pki, path), free_ports(1)[0]
        super().__init__(os.path.join(REAL, "etcd") if REAL else os.path.join(BIN, "etcd-server"), root, name, tls=True, args=[
            "--cert-file=" + self.pem("etcd/server.crt"), "--key-file=" + self.pem("etcd/server.key"),
            "--trusted-ca-file=" + self.pem("etcd/ca.crt"), "--client-cert-auth=true",
            *(["--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"] if newer else
              ["--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s"]),
            "--listen-metrics-urls=http://127.0.0.1:%d" % self.probe_port,
            "--peer-cert-file=" + self.pem("etcd/peer.crt"), "--peer-key-file=" + self.pem("etcd/peer.key"),
            "--peer-trusted-ca-file=" + self.pem("etcd/ca.crt"), "--peer-client-cert-auth=true", "--snapshot-count=10000"])
        self.peer_scheme = "https"
        self.tls_context = ssl.create_default_context(cafile=self.pem("etcd/ca.crt"))
        self.tls_context.load_cert_chain(self.pem("etcd/healthcheck-client.crt"), self.pem("etcd/healthcheck-client.key"))

    def tool(self, ours, theirs, *words):
        return run(os.path.join(REAL, theirs) if REAL else os.path.join(BIN, ours), *words)

    def leads(self):
        try:
            status = self.post("/v3/maintenance/status", {}, timeout=5)[1]
            return status["leader"] == status["header"]["member_id"]
        except (OSError, http.client.HTTPException, KeyError, TypeError):
            return False

    def save(self, file):
        self.tool("etcd-ctl", "etcdctl", "--endpoints=" + self.url, "--cacert=" + self.pem("etcd/ca.crt"),
                  "--cert=" + self.pem("etcd/healthcheck-client.crt"), "--key=" + self.pem("etcd/healthcheck-client.key"),
                  "snapshot", "save", file)

    def restore(self, file, *flags):
        """The next start is on what the file holds."""
        self.dir += "-restored"
        self.tool("etcd-snap", "etcdutl", "snapshot", "restore", file, "--data-dir=" + self.dir, "--name=" + self.name,
                  "--initial-cluster=%s=%s" % (self.name, self.advertised_peer_url),
                  "--initial-advertise-peer-urls=" + self.advertised_peer_url, *flags)

    def keys(self, prefix):
        status, answer = self.post("/v3/kv/range", {"key": b64(prefix), "range_end": b64(prefix[:-1] + "0")})
        expect(status == 200, answer)
        return {base64.b64decode(kv["key"]).decode(): kv for kv in answer.get("kvs", [])}


class Apiserver:
    def __init__(self, root, pki, stores, name="apiserver"):
        self.root, self.pki, self.log = root, pki, os.path.join(root, name + ".log")
        self.port, self.process = free_ports(1)[0], None
        pem = lambda path: os.path.join(pki, path)
        keys = os.path.join(root, "encryption.json")
        with open(keys, "w") as file:
            json.dump({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": [
                {"resources": ["secrets"], "providers": [
                    {"aescbc": {"keys": [{"name": "key1", "secret": b64(os.urandom(32))}]}}, {"identity": {}}]}]}, file)
        self.command = [
            APISERVER, "--etcd-servers=" + ",".join(store.url for store in stores), "--etcd-cafile=" + pem("etcd/ca.crt"),
            "--etcd-certfile=" + pem("apiserver-etcd-client.crt"), "--etcd-keyfile=" + pem("apiserver-etcd-client.key"),
            "--bind-address=127.0.0.1", "--secure-port=%d" % self.port, "--advertise-address=192.0.2.1",
            "--tls-cert-file=" + pem("apiserver.crt"), "--tls-private-key-file=" + pem("apiserver.key"),
            "--client-ca-file=" + pem("ca.crt"), "--service-account-key-file=" + pem("sa.pub"),
            "--service-account-signing-key-file=" + pem("sa.key"), "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=AlwaysAllow",
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition", "--encryption-provider-config=" + keys,
            "--etcd-compaction-interval=10s", "--event-ttl=20s", "--etcd-count-metric-poll-period=5s",
            "--etcd-db-metric-poll-interval=5s"]
        self.tls = ssl.create_default_context(cafile=pem("ca.crt"))
        self.tls.load_cert_chain(pem("apiserver-kubelet-client.crt"), pem("apiserver-kubelet-client.key"))

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=os.path.dirname(self.log))
        atexit.register(put_down, self.process)
        wait_for("the apiserver to get ready, see " + self.log, self.ready, START_S)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError("the apiserver ended:\n" + self.logged()[-3000:])
        time.sleep(0.2)  # each question costs it something
        try:
            return self.ask("GET", "/readyz", raw=True)[0] == 200 and self.stored()
        except (OSError, http.client.HTTPException):
            return False

    def logged(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def stored(self):
        """Does it reach its storage?"""
        return self.ask("GET", "/healthz/etcd", raw=True)[0] == 200

    def stop(self):
        self.process.terminate()
        self.process.wait(120)

    def connect(self, timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls)

    def ask(self, method, path, body=None, kind="application/json", raw=False, link=None):
        """(status, JSON) of one request."""
        own = link or self.connect()
        try:
            own.request(method, path, None if body is None else json.dumps(body), {"Content-Type": kind} if body else {})
            answer = own.getresponse()
            text = answer.read()
        finally:
            if link is None:
                own.close()
        return answer.status, text.decode() if raw else json.loads(text)

    def want(self, status, method, path, body=None, kind="application/json", link=None):
        got, answer = self.ask(method, path, body, kind, link=link)
        expect(got == status, f"{method} {path}: {got} instead of {status}: {answer}")
        return answer

    def metrics(self):
        text = self.want_text("/metrics")
        return [(m[1], dict(re.findall(r'(\w+)="([^"]*)"', m[2] or "")), float(m[3]))
                for m in re.finditer(r"^(\w+)(\{.*\})? (\S+)$", text, re.M)]

    def want_text(self, path):
        status, text = self.ask("GET", path, raw=True)
        expect(status == 200, f"{path}: {status}: {text}")
        return text


class Watch(threading.Thread):
    """A watch in a thread of its own; what came is in .events."""

    def __init__(self, api, path):
        super().__init__(daemon=True)
        self.link, self.events, self.failure = api.connect(timeout=600), [], None
        self.link.request("GET", path + ("&" if "?" in path else "?") + "watch=true")
        self.answer = self.link.getresponse()
        expect(self.answer.status == 200, f"watch {path}: {self.answer.status} {self.answer.read() if self.answer.status != 200 else ''}")
        self.start()

    def run(self):
        try:
            for line in iter(self.answer.readline, b""):
                self.events.append(json.loads(line))
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
            self.failure = error

    def wait(self, what, fact, seconds=60):
        return wait_for(f"a watch's {what}; it has {str(self.events)[-300:]}",
                        lambda: [e for e in list(self.events) if fact(e)], seconds)

    def close(self):
        self.link.sock and self.link.sock.close()


def configmap(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name, image="example.com/web:1"):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image}]}}


def deployment(name, replicas):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]}}}}


def component(api, name, *flags):
    """Another part of the control plane, from beside the apiserver; None when it is not there."""
    program = os.path.join(os.path.dirname(APISERVER), name)
    if not os.access(program, os.X_OK):
        return None
    pem, config = (lambda path: os.path.join(api.pki, path)), os.path.join(api.root, "kubeconfig")
    with open(config, "w") as file:
        json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "here",
                   "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
                   "clusters": [{"name": "here", "cluster": {"server": "https://127.0.0.1:%d" % api.port, "certificate-authority": pem("ca.crt")}}],
                   "users": [{"name": "here", "user": {"client-certificate": pem("apiserver-kubelet-client.crt"),
                                                       "client-key": pem("apiserver-kubelet-client.key")}}]}, file)
    with open(os.path.join(api.root, name + ".log"), "ab") as log:
        return subprocess.Popen([program, "--kubeconfig=" + config, "--bind-address=127.0.0.1", "--secure-port=%d" % free_ports(1)[0],
                                 *flags], stdout=log, stderr=log, cwd=api.root)


def health(api, store):
    for path in ("/readyz", "/livez", "/healthz"):  # OpenShift's build asks its storage for the last two only
        text = api.want_text(path + "?verbose")
        expect("[-]" not in text and (path == "/readyz" or "[+]etcd ok" in text), text[-500:])
    expect(api.stored(), "/healthz/etcd")
    for path in ("/livez", "/readyz", "/health?exclude=NOSPACE&serializable=true"):  # kubeadm's probes
        link = http.client.HTTPConnection("127.0.0.1", store.probe_port, timeout=20)
        link.request("GET", path)
        expect(link.getresponse().status == 200, path)
        link.close()
    expect(any(key.startswith("/registry/namespaces/kube-system") for key in store.keys("/registry/namespaces/")), "no namespace kept")


def crud(api, _store):
    api.want(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    objects = [
        ("/api/v1/namespaces/shop/configmaps", configmap("one", a="1")),
        ("/api/v1/namespaces/shop/secrets", {"metadata": {"name": "one"}, "stringData": {"password": "apple"}}),
        ("/api/v1/namespaces/shop/pods", pod("one")),
        ("/api/v1/namespaces/shop/services", {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}),
        ("/apis/apps/v1/namespaces/shop/deployments", deployment("one", 1))]
    for path, body in objects:
        made = api.want(201, "POST", path, body)
        api.want(409, "POST", path, body)
        got = api.want(200, "GET", path + "/one")
        expect(got["metadata"]["uid"] == made["metadata"]["uid"], got)
        got["metadata"]["labels"] = {"step": "put"}
        put = api.want(200, "PUT", path + "/one", got)
        expect(int(put["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"]), put)
        got["metadata"]["labels"] = {"step": "late"}  # with the resourceVersion of before
        api.want(409, "PUT", path + "/one", got)
        api.want(200, "PATCH", path + "/one", {"metadata": {"labels": {"step": "patch"}}}, "application/merge-patch+json")
        listed = api.want(200, "GET", path + "?labelSelector=step%3Dpatch")["items"]
        expect([item["metadata"]["name"] for item in listed] == ["one"], listed)
        api.want(200, "DELETE", path + "/one?gracePeriodSeconds=0")
        api.want(404, "GET", path + "/one")
        api.want(201, "POST", path, body)
        api.want(200, "DELETE", path + "?gracePeriodSeconds=0" if "services" not in path else path + "/one")
        expect(not api.want(200, "GET", path)["items"], "deletecollection left something")


def conflicts(api, _store):
    """Several clients count up one object; each retries on a conflict, none is lost."""
    api.want(201, "POST", MAPS, configmap("counter", n="0"))

    def count():
        link, done = api.connect(), 0
        while done < 20:
            got = api.want(200, "GET", MAPS + "/counter", link=link)
            got["data"]["n"] = str(int(got["data"]["n"]) + 1)
            status, answer = api.ask("PUT", MAPS + "/counter", got, link=link)
            expect(status in (200, 409), answer)
            done += status == 200

    counters = [threading.Thread(target=count) for _ in range(4)]
    for one in counters:
        one.start()
    for one in counters:
        one.join()
    expect(api.want(200, "GET", MAPS + "/counter")["data"]["n"] == "80", "a count was lost")


def server_side_apply(api, _store):
    url = DEPLOYMENTS + "/applied?fieldManager="
    api.want(201, "PATCH", url + "one", deployment("applied", 2), APPLY)
    api.want(200, "PATCH", url + "one", deployment("applied", 3), APPLY)
    api.want(409, "PATCH", url + "two", deployment("applied", 5), APPLY)
    forced = api.want(200, "PATCH", url + "two&force=true", deployment("applied", 5), APPLY)
    expect(forced["spec"]["replicas"] == 5 and {m["manager"] for m in forced["metadata"]["managedFields"]} >= {"two"}, forced)


def in_pages(api, _store):
    def make(first):
        link = api.connect()
        for number in range(first, OBJECTS, 4):
            api.want(201, "POST", MAPS, configmap("map-%05d" % number, text="x" * 300), link=link)

    makers = [threading.Thread(target=make, args=(n,)) for n in range(4)]
    for one in makers:
        one.start()
    for one in makers:
        one.join()
    names, token, rounds = [], "", 0
    while True:
        page = api.want(200, "GET", MAPS + "?limit=500&continue=" + token)
        names += [item["metadata"]["name"] for item in page["items"] if item["metadata"]["name"].startswith("map-")]
        if rounds == 0:
            api.want(201, "POST", MAPS, configmap("map-00001a"))  # the pages are those of one moment
            version = page["metadata"]["resourceVersion"]
            expect(page["metadata"]["remainingItemCount"] >= OBJECTS - 500, page["metadata"])
        rounds, token = rounds + 1, page["metadata"].get("continue", "")
        if not token:
            break
    expect(names == ["map-%05d" % n for n in range(OBJECTS)] and rounds > OBJECTS // 500, f"{len(names)} in {rounds} pages")
    for how in ("", "?resourceVersion=0", f"?resourceVersion={version}&resourceVersionMatch=NotOlderThan"):
        listed = [item["metadata"]["name"] for item in api.want(200, "GET", MAPS + how)["items"]]
        expect("map-00001a" in listed and len(listed) > OBJECTS, how)
    exact = api.want(200, "GET", MAPS + f"?resourceVersion={version}&resourceVersionMatch=Exact&limit={OBJECTS + 100}")["items"]
    expect([m for m in exact if m["metadata"]["name"].startswith("map-")][-1]["metadata"]["name"] == "map-%05d" % (OBJECTS - 1)
           and not [m for m in exact if m["metadata"]["name"] == "map-00001a"], "the list of then")


def read_after_write(api, _store):
    """Consistent lists from the cache: each asks the storage how far it is (RequestProgress)."""
    link = api.connect()
    for number in range(60):
        made = api.want(201, "POST", PODS, pod("seen-%d" % number), link=link)
        listed = api.want(200, "GET", PODS, link=link)
        expect(int(listed["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"]) and
               [p for p in listed["items"] if p["metadata"]["name"] == "seen-%d" % number], "a list misses what was written")
        api.want(201, "POST", MAPS, configmap("between-%d" % number), link=link)  # so that pods are behind the revision
    api.want(200, "DELETE", PODS + "?gracePeriodSeconds=0")


def watches(api, _store):
    start = api.want(200, "GET", PODS)["metadata"]["resourceVersion"]
    api.want(201, "POST", PODS, pod("watched"))
    watch = Watch(api, PODS + f"?allowWatchBookmarks=true&resourceVersion={start}")
    watch.wait("ADDED from history", lambda e: e["type"] == "ADDED" and e["object"]["metadata"]["name"] == "watched")
    api.want(200, "PATCH", PODS + "/watched", {"metadata": {"labels": {"live": "yes"}}}, "application/merge-patch+json")
    watch.wait("MODIFIED", lambda e: e["type"] == "MODIFIED")
    api.want(200, "DELETE", PODS + "/watched?gracePeriodSeconds=0")
    watch.wait("DELETED", lambda e: e["type"] == "DELETED")
    last = int(watch.events[-1]["object"]["metadata"]["resourceVersion"])
    api.want(201, "POST", MAPS, configmap("elsewhere"))
    minor = re.sub(r"\D", "", api.want(200, "GET", "/version")["minor"])
    if not minor or int(minor) > 20:  # older ones do not ask the storage for its progress
        watch.wait("bookmark beyond what it saw", lambda e: e["type"] == "BOOKMARK" and int(e["object"]["metadata"]["resourceVersion"]) > last, 150)
    watch.close()
    as_watch = MAPS + "?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=&allowWatchBookmarks=true"
    asked = api.ask("GET", as_watch + "&watch=true&timeoutSeconds=5", raw=True)
    if asked[0] == 200 and "initial-events-end" in asked[1]:  # a list as a watch; older ones do not know it
        listed = Watch(api, as_watch)
        listed.wait("end of the list", lambda e: e["object"]["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true")
        expect(len([e for e in listed.events if e["type"] == "ADDED"]) > OBJECTS, "the list as a watch is short")
        listed.close()
    else:
        expect(minor and int(minor) < 32, "no list as a watch: " + asked[1])


def custom_resources(api, store):
    names = {"plural": "wheels", "singular": "wheel", "kind": "Wheel"}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    api.want(201, "POST", CRDS, {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
             "metadata": {"name": "wheels.example.com"}, "spec": {"group": "example.com", "names": names, "scope": "Namespaced",
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
    wheel = lambda n: {"apiVersion": "example.com/v1", "kind": "Wheel", "metadata": {"name": f"w{n}"}, "spec": {"size": n}}
    wait_for("the new kind", lambda: time.sleep(0.2) or api.ask("GET", WHEELS, raw=True)[0] == 200, 60)
    watch = Watch(api, WHEELS + "?resourceVersion=0")
    for number in range(20):
        wait_for("the first of its kind", lambda: api.ask("POST", WHEELS, wheel(number), raw=True)[0] in (201, 409), 60)
    watch.wait("wheels", lambda e: e["object"]["metadata"]["name"] == "w19")
    expect(len(api.want(200, "GET", WHEELS)["items"]) == 20, "wheels")
    expect(len(store.keys("/registry/example.com/wheels/")) == 20, "wheels in the storage")
    watch.close()
    api.want(200, "DELETE", CRDS + "/wheels.example.com")
    wait_for("the wheels to go with their kind", lambda: time.sleep(0.2) or not store.keys("/registry/example.com/wheels/"), 60)


def control_plane(api, store):
    """Controllers and the scheduler, with their leader elections: pods come, are bound, grow in number, and go."""
    parts = [component(api, "kube-controller-manager", "--service-account-private-key-file=" + os.path.join(api.pki, "sa.key")),
             component(api, "kube-scheduler")]
    try:
        if None in parts:
            print("# LEFT OUT: the control plane; there is no kube-controller-manager and kube-scheduler beside the apiserver")
            return
        room = {"cpu": "100", "memory": "100Gi", "pods": "110"}
        api.want(201, "POST", "/api/v1/nodes", {"metadata": {"name": "n1"}, "status": {
            "capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}})
        api.want(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "work"}})
        path, pods = "/apis/apps/v1/namespaces/work/deployments", "/api/v1/namespaces/work/pods"
        api.want(201, "POST", path, deployment("web", 3))
        bound = lambda: time.sleep(0.2) or len([p for p in api.want(200, "GET", pods)["items"] if p["spec"].get("nodeName") == "n1"])
        wait_for("three pods on the node", lambda: bound() == 3, 120)
        api.want(200, "PATCH", path + "/web", {"spec": {"replicas": 50}}, "application/merge-patch+json")
        wait_for("fifty", lambda: bound() == 50, 120)
        for holder in ("kube-controller-manager", "kube-scheduler"):
            expect(api.want(200, "GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/" + holder)["spec"]["holderIdentity"], holder)
        api.want(200, "DELETE", path + "/web")
        api.want(200, "DELETE", "/api/v1/nodes/n1")
        for one in api.want(200, "GET", pods)["items"]:  # there is no kubelet that ends them
            api.ask("DELETE", pods + "/%s?gracePeriodSeconds=0" % one["metadata"]["name"], raw=True)
        wait_for("the pods to go", lambda: bound() == 0, 120)
        api.want(200, "DELETE", "/api/v1/namespaces/work")
        wait_for("the namespace to go", lambda: time.sleep(0.2) or not store.keys("/registry/namespaces/work/") and
                 api.ask("GET", "/api/v1/namespaces/work", raw=True)[0] == 404, 120)
    finally:
        for part in parts:
            if part is not None:
                put_down(part)


def node_leases(api, _store):
    lease = api.want(201, "POST", LEASES, {"metadata": {"name": "node"}, "spec": {"holderIdentity": "node", "leaseDurationSeconds": 40}})
    for number in range(30):
        lease["spec"]["renewTime"] = "2030-01-01T00:00:%02d.000000Z" % number
        lease = api.want(200, "PUT", LEASES + "/node", lease)
    expect(lease["spec"]["renewTime"].startswith("2030-01-01T00:00:29"), lease)


def events_expire(api, store):
    for number in range(20):
        api.want(201, "POST", DEFAULT + "/events", {"metadata": {"name": f"web.{number}"}, "reason": "Test", "message": "m", "type": "Normal",
                 "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"}})
    kept = {key: kv for key, kv in store.keys("/registry/events/default/").items() if "/web." in key}
    expect(len(kept) == 20 and 0 < len({kv["lease"] for kv in kept.values()}) < 20, f"{len(kept)} events, each with a lease of its own")
    expect(store.keys("/registry/masterleases/"), "the apiserver's own lease")
    wait_for("the events to expire", lambda: time.sleep(0.2) or not api.want(200, "GET", DEFAULT + "/events")["items"], 60)
    expect(not store.keys("/registry/events/default/"), "events in the storage")


def secrets_encrypted(api, store):
    api.want(201, "POST", SECRETS, {"metadata": {"name": "db"}, "stringData": {"password": "correct horse"}})
    raw = base64.b64decode(store.keys("/registry/secrets/default/")["/registry/secrets/default/db"]["value"])
    expect(raw.startswith(b"k8s:enc:aescbc:v1:key1:") and b"horse" not in raw, raw[:60])
    expect(api.want(200, "GET", SECRETS + "/db")["data"]["password"] == b64("correct horse"), "the secret")


def compaction(api, store):
    first = api.want(200, "GET", MAPS + "?limit=1")
    old, token = first["metadata"]["resourceVersion"], first["metadata"]["continue"]
    api.want(201, "POST", MAPS, configmap("after"))
    compacted = lambda: "compacted" in str(store.post("/v3/kv/range", {"key": b64("x"), "revision": old}))
    wait_for("the apiserver to compact", lambda: time.sleep(0.2) or compacted(), 90)
    expect(int(base64.b64decode(store.keys("compact_rev_key/").get("compact_rev_key", {}).get("value", b"")) or 0) >= 0, "")
    status, answer = api.ask("GET", MAPS + "?limit=1&continue=" + token)
    # newer apiservers answer from the snapshots in their cache
    expect(status == 410 and answer["reason"] == "Expired" or status == 200, answer)
    api.want(200, "GET", MAPS + "?limit=1")


def killed(api, store):
    """A watch stays open over a kill -9 of the storage; the apiserver says that it is gone, and comes back by itself."""
    version = api.want(200, "GET", PODS)["metadata"]["resourceVersion"]
    watch = Watch(api, PODS + f"?resourceVersion={version}")
    store.kill()
    wait_for("the apiserver to see it", lambda: time.sleep(0.2) or not api.stored(), 60)
    store.start()
    wait_for("the apiserver to be ready again", api.ready, 60)
    wait_for("a write", lambda: api.ask("POST", PODS, pod("reborn"), raw=True)[0] in (201, 409), 60)
    watch.wait("event from after it", lambda e: e["object"]["metadata"].get("name") == "reborn")
    watch.close()
    api.want(200, "DELETE", PODS + "/reborn?gracePeriodSeconds=0")


def snapshot_drill(api, store, root):
    """Save, delete, restore into a new directory; the apiserver is stopped meanwhile, as the manual says."""
    file = os.path.join(root, "backup.db")
    store.save(file)
    maps = len(api.want(200, "GET", MAPS)["items"])
    api.want(200, "DELETE", MAPS)
    api.want(200, "DELETE", DEPLOYMENTS + "/applied")
    expect(not [m for m in api.want(200, "GET", MAPS)["items"] if m["metadata"]["name"].startswith("map-")], "still there")
    api.stop()
    store.stop()
    store.restore(file)
    store.start()
    api.start()
    expect(len(api.want(200, "GET", MAPS)["items"]) == maps, "the configmaps are not back")
    api.want(200, "GET", DEPLOYMENTS + "/applied")
    expect(api.want(200, "GET", SECRETS + "/db")["data"]["password"] == b64("correct horse"), "the secret")
    api.want(201, "POST", MAPS, configmap("after-the-drill"))


def restored_beneath(api, store, root):
    """Restored under a running apiserver: revisions go on (--bump-revision), watches are told to list again."""
    file = os.path.join(root, "backup2.db")
    store.save(file)
    version = api.want(200, "GET", MAPS)["metadata"]["resourceVersion"]
    api.want(201, "POST", MAPS, configmap("lost"))
    watch = Watch(api, MAPS + f"?resourceVersion={version}")
    watch.wait("event", lambda e: e["object"]["metadata"].get("name") == "lost")
    store.stop()
    store.restore(file, "--bump-revision=1000000", "--mark-compacted")
    store.start()
    wait_for("the apiserver to be ready again", api.ready, 60)
    wait_for("the cache to forget", lambda: time.sleep(0.2) or api.ask("GET", MAPS + "/lost?resourceVersion=0", raw=True)[0] == 404, 90)
    made = api.want(201, "POST", MAPS, configmap("found"))
    expect(int(made["metadata"]["resourceVersion"]) > int(version) + 1000000, made["metadata"])
    watch.close()


class Writer(threading.Thread):
    """Makes configmaps, one after the other; what was answered with 201 must be found later."""

    def __init__(self, api, prefix):
        super().__init__(daemon=True)
        self.prefix, self.api, self.kept, self.refused, self.slowest, self.end = prefix, api, [], [], 0.0, False
        self.start()

    def run(self):
        number = 0
        while not self.end:
            number, begun = number + 1, time.monotonic()
            try:
                status, answer = self.api.ask("POST", MAPS, configmap("%s-%05d" % (self.prefix, number)), raw=True)
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, repr(error)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if status == 201:
                self.kept.append("%s-%05d" % (self.prefix, number))
            else:
                self.refused.append(answer)

    def more(self, count=20):
        goal = len(self.kept) + count
        wait_for("writes to go on: " + str(self.refused[-1:]), lambda: len(self.kept) >= goal, 60)


def members(root, pki):
    stores = [Store(root, pki, name, newer=not REAL) for name in ("a", "b", "c")]
    initial = ",".join(f"{store.name}={store.advertised_peer_url}" for store in stores)
    for store in stores:
        store.args.append("--initial-cluster=" + initial)
        store.launch()
    for store in stores:
        wait_for("the member, see " + store.log, store.ready)
    return stores


def members_fall(api, stores, how):
    """Each member in turn, the leader first; writes and a watch go on.

    One after the other this fast, a write may take some seconds: so long waits the client's library until it dials a
    member again that has just been away.
    """
    watch = Watch(api, MAPS + "?resourceVersion=" + api.want(200, "GET", MAPS)["metadata"]["resourceVersion"])
    writer = Writer(api, how)
    writer.more()
    leader = wait_for("a leader", lambda: [store for store in stores if store.leads()])[0]
    for store in [leader] + [one for one in stores if one is not leader]:
        (store.kill if how == "kill" else store.stop)()
        writer.more()
        store.start()
        writer.more()
    writer.end = True
    writer.join()
    leaderless = len(re.findall("watch chan error: etcdserver: no leader", api.logged()))
    print("# each %s: %d written, %d refused, the slowest took %.1f s; %d watches ended without a leader" %
          ("stopped" if how == "stop" else "killed", len(writer.kept), len(writer.refused), writer.slowest, leaderless))
    if writer.refused:
        print("#     " + writer.refused[0][:200])
    found = {item["metadata"]["name"] for item in api.want(200, "GET", MAPS)["items"]}
    expect(found >= set(writer.kept), "a write that was answered is lost")
    if not leaderless:  # else the apiserver has ended it
        wait_for("the watch to see all", lambda: {e["object"]["metadata"].get("name") for e in list(watch.events) if e["type"] == "ADDED"} >= set(writer.kept), 60)
    watch.close()
    api.want(200, "DELETE", MAPS)
    hashes = wait_for("the members to agree", lambda: time.sleep(0.2) or len({store.hash_kv() for store in stores}) == 1)
    expect(hashes and (how == "kill" or REAL or not writer.refused and not leaderless),
           "a write was refused, or a watch ended, in a rolling restart")


def trouble(log):
    """What the apiserver holds against its storage: warnings and errors of the log, a sample of each kind."""
    kinds = {}
    for line in log.splitlines():
        if LINE.search(line) and STORAGE_TROUBLE.search(line) and not HARMLESS.search(line):
            kinds.setdefault(re.sub(r"\d+", "N", line.split("] ", 1)[-1])[:90], line)
    return list(kinds.values())


def nothing_against_it(api, _store=None):
    text = api.logged()
    expect(not trouble(text), "\n    ".join(trouble(text)[:12]))
    bad = [one for one in api.metrics() if one[0] == "grpc_client_handled_total" and
           one[1]["grpc_code"] not in ("OK", "Canceled") and one[2] > 0 and not (
               one[1]["grpc_method"] == "Range" and one[1]["grpc_code"] == "OutOfRange")]  # a list's page after a compaction
    expect(not bad, bad)
    storage = [value for name, _, value in api.metrics() if name in ("apiserver_storage_size_bytes", "etcd_db_total_size_in_bytes",
               "apiserver_storage_db_total_size_in_bytes")]
    expect(storage and max(storage) > 0, "the size of the storage is not known to the apiserver")
    failed = [one for one in api.metrics() if re.search(r"consistent_read_total|consistency_checks", one[0]) and one[2] > 0 and
              one[1].get("group") != "example.com" and (  # whose cache went with it while lists waited
              one[1].get("success") == "false" or one[1].get("status") in ("failure", "error"))]
    expect(not failed, failed)


def report(api):
    """Figures, to compare two storages with: requests and their mean time."""
    sums = {}
    for name, labels, value in api.metrics():
        for end in ("_sum", "_count"):
            if name == "etcd_request_duration_seconds" + end:
                one = sums.setdefault(labels["operation"], {})
                one[end] = one.get(end, 0) + value
    for operation, one in sorted(sums.items()):
        print("# %-20s %6d calls, %.2f ms" % (operation, one["_count"], 1000 * one["_sum"] / max(one["_count"], 1)))
    for name, labels, value in api.metrics():
        if "consistent_read_total" in name and value > 0 and labels.get("resource") in ("pods", "configmaps", "wheels"):
            print("# %s %s %d" % (name, labels, value))


CHECKS = [("health", health), ("objects", crud), ("conflicts", conflicts), ("server-side apply", server_side_apply),
          ("thousands of objects in pages", in_pages), ("lists see what was written", read_after_write),
          ("watches and bookmarks", watches), ("custom resources", custom_resources), ("controllers and scheduler", control_plane),
          ("leases of nodes", node_leases), ("events expire", events_expire), ("encrypted secrets", secrets_encrypted),
          ("the apiserver compacts", compaction)]


def on_one(tally, root, pki):
    store = Store(root, pki)
    store.start()
    api = Apiserver(root, pki, [store]).start()
    for name, check in CHECKS:
        tally.run(name, check, api, store)
    tally.run("nothing held against the storage", nothing_against_it, api)
    report(api)
    tally.run("the storage is killed", killed, api, store)
    tally.run("snapshot, delete, restore", snapshot_drill, api, store, root)
    tally.run("restored under a running apiserver", restored_beneath, api, store, root)
    api.stop()
    store.stop()


def on_three(tally, root, pki):
    stores = members(root, pki)
    api = Apiserver(root, pki, stores, "apiserver3").start()
    tally.run("three members: health", health, api, stores[0])
    tally.run("three members: objects", crud, api, stores[0])
    tally.run("three members: nothing held against them", nothing_against_it, api)
    tally.run("three members, each stopped", members_fall, api, stores, "stop")
    tally.run("three members, each killed", members_fall, api, stores, "kill")
    api.stop()


def main():
    print("# " + run(APISERVER, "--version").strip())
    tally = Tally("kube-apiserver on " + ("etcd" if REAL else "etcd-server"))
    with temporary("kube") as root:
        pki = os.path.join(root, "pki")
        make_pki(pki)
        try:
            for part in (on_one, on_three):
                if os.environ.get("ONLY", part.__name__) == part.__name__:
                    part(tally, root, pki)
        finally:
            if os.environ.get("KEEP"):  # what the parts logged, to compare
                shutil.copytree(root, os.environ["KEEP"], dirs_exist_ok=True)
    tally.finish()


main()
