-- wrk: get the keys that put.lua wrote. Usage: wrk -s get.lua URL -- KEYS
local keys, at
function init(args)
    keys = tonumber(args[1] or "10000")
    at = math.random(keys)
    wrk.headers["Content-Type"] = "application/json"
end
function request()
    at = at % keys + 1
    return wrk.format("POST", "/v3/kv/range", nil, string.format('{"key":"%s"}', string.format("%08d", at)))
end
