-- wrk: put KEYS keys in turn, each connection anywhere among them. Usage: wrk -s put.lua URL -- KEYS
local keys, at, heads
function init(args)
    keys = tonumber(args[1] or "10000")
    at = math.random(keys)
    wrk.headers["Content-Type"] = "application/json"
    heads = string.rep("dmFs", 32)
end
function request()
    at = at % keys + 1
    return wrk.format("POST", "/v3/kv/put", nil,
        string.format('{"key":"%s","value":"%s"}', string.format("%08d", at), heads))
end
