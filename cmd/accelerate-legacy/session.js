// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { createHash } from "node:crypto";

/**
 * Where a request's pool is, and what to log in to it with. The gateway says so in a
 * header of each request, over a socket that only it can reach, once it has found that
 * the pooler takes the credential.
 *
 * @typedef {object} Session
 * @property {string} pool its namespace and name
 * @property {string} host
 * @property {number} port
 * @property {boolean} tls whether the pooler speaks TLS
 * @property {string} authority what the pooler's certificate comes from, in PEM, or nothing
 * @property {string} serverName what it is good for, where that is not the host
 * @property {boolean} exclusive whether a connection holds a server connection while it is open
 * @property {string} user
 * @property {string} password
 * @property {string} database
 * @property {string} endpoint what the URL of an interactive transaction begins with; its id follows
 */

export const header = "poolfleet-session";

/**
 * @param {import("node:http").IncomingHttpHeaders} headers
 * @returns {Session}
 */
export function readSession(headers) {
  return JSON.parse(Buffer.from(headers[header], "base64").toString("utf8"));
}

/** Names the login for as long as nothing of it changes; the password can not be read from it. */
export function loginOf({ endpoint, ...login }) {
  return createHash("sha256").update(JSON.stringify(login)).digest("base64");
}
