-- SPDX-FileCopyrightText: The Poolfleet Authors
-- SPDX-License-Identifier: Apache-2.0

-- What Argo CD shows of a ConnectionPool: Degraded while only a person can help, Suspended
-- while its clients wait, or nobody serves them, because the spec asks for it.
local found = {}
for _, c in ipairs((obj.status or {}).conditions or {}) do
  found[c.type] = c
end
local ready, stalled, reconciling = found.Ready, found.Stalled, found.Reconciling

if ready == nil then
  return {status = "Progressing", message = "Waiting for the operator"}
end
if (ready.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return {status = "Progressing", message = "Waiting for the operator to see the newest spec"}
end
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if ready.reason == "Pausing" or ready.reason == "Paused" or ready.reason == "ScaledToZero" then
  return {status = "Suspended", message = ready.message}
end
if reconciling ~= nil and reconciling.status == "True" then
  return {status = "Progressing", message = reconciling.message}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
return {status = "Progressing", message = ready.message}
