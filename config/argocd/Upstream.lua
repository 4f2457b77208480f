-- SPDX-FileCopyrightText: The Poolfleet Authors
-- SPDX-License-Identifier: Apache-2.0

-- What Argo CD shows of an Upstream: Degraded while its server does not answer or leaves
-- pools nothing. Others' connections beyond what is left to them degrade nothing, for
-- pools give way; the message tells of them.
local found = {}
for _, c in ipairs((obj.status or {}).conditions or {}) do
  found[c.type] = c
end
local ready, headroom = found.Ready, found.HeadroomAvailable

if ready == nil then
  return {status = "Progressing", message = "Waiting for the operator"}
end
if (ready.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return {status = "Progressing", message = "Waiting for the operator to see the newest spec"}
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return {status = "Degraded", message = found.Stalled.message}
end
if found.Reconciling ~= nil and found.Reconciling.status == "True" then
  return {status = "Progressing", message = found.Reconciling.message}
end
if headroom ~= nil and headroom.status == "False" then
  return {status = "Healthy", message = headroom.message}
end
return {status = "Healthy", message = ready.message}
