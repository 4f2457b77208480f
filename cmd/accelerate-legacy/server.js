// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { createServer } from "node:http";

import { Failure, unreadable } from "./failure.js";

/** More than the gateway sends: a credential, and an authority's certificates in base64. */
const maxHeaderSize = 256 << 10;

/**
 * Serves requests until the server is closed. Nothing of a request is logged.
 *
 * @param {import("./service.js").Service} service
 * @param {{resultBytes: number}} limits
 */
export function serve(service, limits) {
  const server = createServer({ maxHeaderSize, keepAliveTimeout: 0 }, async (request, response) => {
    const [status, body] = await outcome(service, request, limits);
    const text = Buffer.from(body);
    if (!request.complete) response.setHeader("connection", "close"); // Its rest is not read.
    response.writeHead(status, { "content-type": "application/json", "content-length": text.length });
    response.end(text);
  });
  return server;
}

async function outcome(service, request, limits) {
  try {
    const answer = await service.answer(request);
    if (answer.length <= limits.resultBytes) return [200, answer];
    return failed("P6009", `the result has more than ${limits.resultBytes} bytes, as many as are returned`);
  } catch (error) {
    const { status, body } = error instanceof Failure ? error : unreadable();
    return [status, JSON.stringify(body)];
  }
}

/** An error in the place of a result. */
function failed(error_code, message) {
  return [200, JSON.stringify({ errors: [{ error: message, user_facing_error: { is_panic: false, message, error_code } }] })];
}

/** Says at /healthz whether engines can be made, on a port of its own that takes nothing else. */
export function serveHealth() {
  return createServer((request, response) => {
    response.writeHead(request.url === "/healthz" ? 200 : 404).end();
  });
}
