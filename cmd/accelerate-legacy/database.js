// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import tls from "node:tls";

import pg from "pg";

/** Why a statement has no result, where it is neither the server's word nor the network's. */
export class StatementError extends Error {
  /**
   * @param {string} code one of Prisma's
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * A connection to a pooler. It logs in by SCRAM-SHA-256 alone, by which the pooler proves
 * that it knows the password's verifier; it cancels a statement at the server that takes
 * too long, and closes where a result is larger than may be kept in memory.
 */
export class Connection extends pg.Client {
  #limits;
  #received = 0;

  constructor(config) {
    super(config);
    this.#limits = config.limits;
    let proven = false;
    const refuse = () => this.abort(new StatementError("P1011", "the pooler asks for another login than SCRAM-SHA-256"));
    this.connection.once("authenticationSASLFinal", () => (proven = true));
    this.connection.once("authenticationOk", () => proven || refuse());
    this.connection.once("authenticationCleartextPassword", refuse);
    this.connection.once("authenticationMD5Password", refuse);
    this.once("connect", () => this.connection.stream.on("data", (chunk) => this.#count(chunk.length)));
  }

  query(config, values, callback) {
    this.#received = 0;
    let late;
    const timer = setTimeout(() => {
      const seconds = this.#limits.statementMilliseconds / 1000;
      late = new StatementError("P6004", `the statement took longer than ${seconds} s, and was cancelled`);
      this.#cancel();
    }, this.#limits.statementMilliseconds);
    const done = () => clearTimeout(timer);
    if (callback) {
      return super.query(config, values, (error, result) => (done(), callback(error && (late ?? error), result)));
    }
    return super
      .query(config, values)
      .catch((error) => Promise.reject(late ?? error))
      .finally(done);
  }

  /** Closes the connection at once; what waits for it is told of the error. */
  abort(error) {
    this.connection.stream.destroy(error);
  }

  #count(bytes) {
    this.#received += bytes;
    const most = this.#limits.resultBytes;
    if (this.#received > most) {
      this.#cancel();
      this.abort(new StatementError("P6009", `a statement's result has more than ${most} bytes, as many as are returned`));
    }
  }

  /** Asks the server to cancel, by a connection of its own (PostgreSQL documentation, Canceling Requests in Progress). */
  #cancel() {
    const messenger = new pg.Connection({ ssl: this.ssl });
    const end = () => messenger.stream.destroy();
    const send = () => messenger.cancel(this.processID, this.secretKey);
    messenger.on("error", end).on("end", end).once(this.ssl ? "sslconnect" : "connect", send);
    messenger.stream.setTimeout(this.#limits.connectMilliseconds, end);
    messenger.connect(this.port, this.host);
    if (this.ssl) messenger.once("connect", () => messenger.requestSsl());
  }
}

/**
 * Opens a pool of connections for one login. None is older than keepSeconds, for a
 * password that the pooler takes no more is not to go on working, and none is given to
 * another that has a transaction open.
 *
 * @param {import("./session.js").Session} session
 */
export function openPool(session, limits) {
  const pool = new pg.Pool({
    Client: Connection,
    limits,
    host: session.host,
    port: session.port,
    user: session.user,
    password: session.password,
    database: session.database,
    ssl: encryption(session),
    // Prisma's adapter reads times as UTC's and dates in ISO form.
    options: "-c TimeZone=UTC -c DateStyle=ISO",
    max: limits.connections,
    maxLifetimeSeconds: limits.keepSeconds,
    maxUses: session.exclusive ? 1 : Infinity,
    idleTimeoutMillis: limits.keepSeconds * 1000,
    connectionTimeoutMillis: limits.connectMilliseconds,
    allowExitOnIdle: true,
  });
  pool.on("error", () => {}); // An idle connection has ended: the pool has forgotten it.
  const leases = new Map();
  pool.on("acquire", (client) => {
    leases.set(client, setTimeout(() => reclaim(client), limits.leaseMilliseconds));
  });
  pool.on("release", (_, client) => {
    clearTimeout(leases.get(client));
    leases.delete(client);
    if (client.getTransactionStatus() !== "I") void client.end();
  });
  return pool;
}

/** Takes back a connection that nobody returned in all the time that a transaction may take. */
function reclaim(client) {
  client.on("error", () => {});
  client.abort(new StatementError("P2028", "the transaction took longer than any may"));
  client.release(true);
}

function encryption({ tls: wanted, authority, serverName, host }) {
  if (!wanted) return false;
  if (!authority) return { rejectUnauthorized: false }; // SCRAM tells the pooler from another.
  return {
    ca: authority,
    minVersion: "TLSv1.2",
    checkServerIdentity: (_, certificate) => tls.checkServerIdentity(serverName || host, certificate),
  };
}
