-- For wrk: counts answers without the text that they have to hold, and prints JSON.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  expected, wrong = args[1], 0
end

function response(status, headers, body)
  if status >= 400 or not body:find(expected, 1, true) then wrong = wrong + 1 end
end

function done(summary, latency)
  local failed = summary.errors
  local errors = failed.connect + failed.read + failed.write + failed.timeout
  for _, thread in ipairs(threads) do errors = errors + thread:get("wrong") end
  local form = '\n{"per_second": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n'
  local per_second = summary.requests / summary.duration * 1e6
  local p50, p99 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  io.write(form:format(per_second, p50, p99, errors))
end
