// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { invalid } from "./failure.js";
import { readSchema } from "./schema.js";
import { readSession } from "./session.js";

const isolationLevels = ["ReadUncommitted", "ReadCommitted", "RepeatableRead", "Serializable"];

/**
 * Answers the requests of Prisma's clients 5 and 6 that have no engine of their own, as
 * Accelerate does. The gateway has parsed the path, found the pool and checked the key.
 */
export class Service {
  #engines;
  #limits;

  constructor(engines, limits) {
    this.#engines = engines;
    this.#limits = limits;
  }

  /**
   * @param {import("node:http").IncomingMessage} request
   * @returns {Promise<string>} JSON
   */
  async answer(request) {
    if (request.url === "/transactions") return JSON.stringify({ open: this.#engines.open });
    const session = readSession(request.headers);
    const [, hash, ...action] = request.url.slice(1).split("/");
    if (action[0] === "schema") {
      const schema = readSchema(await this.#read(request, this.#limits.schemaBytes), hash);
      await this.#engines.add(session, hash, schema);
      return "{}";
    }
    const body = (await this.#read(request, this.#limits.requestBytes)).toString("utf8");
    const engine = this.#engines.find(session, hash);
    const [kind, transaction, verb] = action;
    if (kind === "graphql") return engine.query(body);
    if (kind === "transaction") return this.#begin(engine, body, session.endpoint);
    if (verb === "graphql") return engine.query(body, transaction);
    await engine.finish(transaction, verb);
    return "{}";
  }

  async #begin(engine, body, endpoint) {
    const id = await engine.begin(this.#readOptions(body));
    return JSON.stringify({ id, "data-proxy": { endpoint: endpoint + id } });
  }

  /** A client that asks for more time than there may be gets so much. */
  #readOptions(body) {
    let options;
    try {
      options = JSON.parse(body);
    } catch {
      throw invalid("the options of the transaction are not JSON");
    }
    // As Prisma's client has it where an application says nothing.
    const { max_wait = 2_000, timeout = 5_000, isolation_level } = options ?? {};
    for (const [name, value] of Object.entries({ max_wait, timeout })) {
      if (!Number.isInteger(value) || value < 0) throw invalid(`${name} is no number of milliseconds`);
    }
    if (isolation_level != null && !isolationLevels.includes(isolation_level)) {
      throw invalid("there is no such isolation level");
    }
    const { waitMilliseconds, transactionMilliseconds } = this.#limits;
    return { max_wait: Math.min(max_wait, waitMilliseconds), timeout: Math.min(timeout, transactionMilliseconds), isolation_level };
  }

  async #read(request, most) {
    const pieces = [];
    let length = 0;
    for await (const piece of request) {
      length += piece.length;
      if (length > most) throw invalid(`the request has more than ${most} bytes, as many as are taken`, 413);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }
}
