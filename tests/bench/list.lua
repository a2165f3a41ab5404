-- wrk: list everything under "list/" (bGlzdC8= to bGlzdDA=).
wrk.method = "POST"
wrk.path = "/v3/kv/range"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"key":"bGlzdC8=","range_end":"bGlzdDA="}'
