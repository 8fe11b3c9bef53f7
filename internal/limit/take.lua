-- GCRA on one key, as limit.Memory has it. The key holds the time at which its bucket is full again, as whole seconds
-- and nanoseconds: a double, Lua's only number, cannot hold that many nanoseconds exactly.
--
-- now, part and grace come from the lines before. ARGV: seconds and nanoseconds of the cost and of the whole bucket.
-- Answer: taken or not, how far ahead of now the bucket's time is, and how long to wait, both in seconds and nanoseconds.
local cost, cost_part = tonumber(ARGV[1]), tonumber(ARGV[2])
local full, full_part = now, part
local held = redis.call('GET', KEYS[1])
if held then
  local s, n = string.match(held, '^(%d+)%.(%d+)$')
  s, n = tonumber(s), tonumber(n)
  if s and (s > full or (s == full and n > full_part)) then full, full_part = s, n end
end
local next, next_part = full + cost, full_part + cost_part
if next_part >= 1e9 then next, next_part = next + 1, next_part - 1e9 end
local wait, wait_part = next - now - tonumber(ARGV[3]), next_part - part - tonumber(ARGV[4])
while wait_part < 0 do wait, wait_part = wait - 1, wait_part + 1e9 end
while wait_part >= 1e9 do wait, wait_part = wait + 1, wait_part - 1e9 end
if wait > 0 or (wait == 0 and wait_part > 0) then
  return {0, full - now, full_part - part, wait, wait_part}
end
if cost > 0 or cost_part > 0 then
  -- A full bucket and none are the same, so the key may go when it is full; the grace covers rounding.
  local left = math.ceil((next - now) * 1000 + (next_part - part) / 1e6) + grace
  redis.call('SET', KEYS[1], string.format('%.0f.%.0f', next, next_part), 'PX', string.format('%.0f', left))
end
return {1, next - now, next_part - part, 0, 0}
