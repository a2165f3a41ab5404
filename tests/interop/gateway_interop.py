#!/usr/bin/env python3
"""gateway_interop.py HOST:PORT [CA CERT KEY] - python3-etcd3gw's operations, through the JSON gateway."""
import threading

from etcd3gw.client import Etcd3Client

from clients import HOST, PORT, TLS, check, done

tls = dict(protocol="https", ca_cert=TLS["ca"], cert_cert=TLS["cert"], cert_key=TLS["key"]) if TLS else {}
client = Etcd3Client(host=HOST, port=PORT, timeout=10, api_path="/v3/", **tls)
client.session.trust_env = False  # proxies and CAs of whoever runs this
check(client.status()["version"].startswith("3.") and len(client.members()) == 1, "status, members")
check(client.put("gw/a", "1") and client.get("gw/a") == [b"1"], "put, get")
check(client.create("gw/b", "2") and not client.create("gw/b", "3"), "create")
check(client.replace("gw/b", "2", "3") and not client.replace("gw/b", "2", "4"), "replace")
check([value for value, _ in client.get_prefix("gw/", sort_order="descend", sort_target="key")] == [b"3", b"1"], "get_prefix, sorted")
check(client.get("gw/b", metadata=True)[0][1]["version"] == "2", "metadata")
txn = {"compare": [{"key": "Z3cvYQ==", "result": "EQUAL", "target": "VALUE", "value": "MQ=="}],
       "success": [{"request_put": {"key": "Z3cvYQ==", "value": "NA=="}}]}
check(client.transaction(txn)["succeeded"] and client.get("gw/a") == [b"4"], "transaction")
lease = client.lease(ttl=60)
client.put("gw/leased", "x", lease=lease)
check(0 < lease.ttl() <= 60 and lease.refresh() == 60 and lease.keys() == [b"gw/leased"], "lease: ttl, refresh, keys")
check(lease.revoke() and client.get("gw/leased") == [], "lease: revoke")
with client.lock("gw-lock", ttl=10) as lock:
    check(lock.is_acquired() and lock.refresh() == 10, "lock")
    check(not client.lock("gw-lock", ttl=10).acquire(), "lock: taken")
events, cancel = client.watch_prefix("gw/watched/")
threading.Thread(target=lambda: [client.put("gw/watched/%d" % i, str(i)) for i in range(3)]).start()
check([next(events)["kv"]["value"] for _ in range(3)] == [b"0", b"1", b"2"], "watch_prefix")
cancel()
timer = threading.Timer(0.2, lambda: client.put("gw/once", "now"))
timer.start()
check(client.watch_once("gw/once", timeout=10)["kv"]["value"] == b"now", "watch_once")
check(client.delete("gw/b") and not client.delete("gw/b") and client.delete_prefix("gw/"), "delete, delete_prefix")
done()
