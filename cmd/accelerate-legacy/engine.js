// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { PrismaPg } from "@prisma/adapter-pg";
import { bindAdapter } from "@prisma/driver-adapter-utils";

import { openPool } from "./database.js";
import { known } from "./failure.js";
import { explain, Mishaps } from "./mishaps.js";
import { instantiate } from "./wasm.js";

/** Prisma's query engine for one login and one schema, with connections of its own. */
export class Engine {
  #engine;
  #pool;
  #mishaps = new Mishaps();
  #requests = 0;

  /**
   * @param {object} options
   * @param {WebAssembly.Module} options.compiled the engine
   * @param {string} options.schema which the engine takes as it is, for Prisma's client has checked it
   * @param {import("./session.js").Session} options.session
   * @param {object} options.limits
   */
  static async open({ compiled, schema, session, limits }) {
    const engine = new Engine(openPool(session, limits));
    await engine.#start(instantiate(compiled), schema);
    return engine;
  }

  constructor(pool) {
    this.#pool = pool;
  }

  async #start(QueryEngine, schema) {
    const adapter = bindAdapter(await new PrismaPg(this.#pool).connect(), this.#mishaps);
    const options = {
      datamodel: schema,
      env: {},
      configDir: "/",
      datasourceOverrides: {},
      ignoreEnvVarErrors: true,
      logLevel: "error",
      logQueries: false,
      engineProtocol: "json",
      enableTracing: false,
    };
    this.#engine = new QueryEngine(options, () => {}, adapter);
    await this.#engine.connect("{}", this.#requestId());
  }

  /** Answers whether the thread gets to answer. */
  ping() {}

  /**
   * @param {string} body a query or a batch, in Prisma's JSON protocol
   * @param {string} [transaction] the id of an open one
   * @returns {Promise<string>} the result, in JSON
   */
  async query(body, transaction) {
    return explain(await this.#engine.query(body, "{}", transaction, this.#requestId()), this.#mishaps);
  }

  /**
   * Begins an interactive transaction. The engine rolls it back after its timeout, but
   * knows no end of waiting for a connection: what begins too late is rolled back here.
   *
   * @param {{max_wait: number, timeout: number, isolation_level?: string}} options in milliseconds
   * @returns {Promise<string>} its id
   */
  async begin(options) {
    const beginning = this.#begin(options);
    let timer;
    const late = new Promise((_, reject) => {
      const message = "Transaction API error: Unable to start a transaction in the given time.";
      timer = setTimeout(() => reject(known({ message, error_code: "P2028" })), options.max_wait);
    });
    try {
      return await Promise.race([beginning, late]);
    } catch (error) {
      beginning.then((id) => this.rollback(id)).catch(() => {}); // It has not begun, or has ended.
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #begin(options) {
    return this.#transactional(await this.#engine.startTransaction(JSON.stringify(options), "{}", this.#requestId())).id;
  }

  async commit(transaction) {
    this.#transactional(await this.#engine.commitTransaction(transaction, "{}", this.#requestId()));
  }

  async rollback(transaction) {
    this.#transactional(await this.#engine.rollbackTransaction(transaction, "{}", this.#requestId()));
  }

  /** Reads the answer to a call about a transaction; an error of it has no result around it. */
  #transactional(answer) {
    const read = JSON.parse(explain(answer, this.#mishaps));
    if (read.error_code !== undefined) throw known(read);
    if (typeof read.message === "string") throw known({ message: read.message, error_code: "P2028" });
    return read;
  }

  #requestId() {
    return String(++this.#requests);
  }

  /** Closes the connections that nobody uses. */
  async close() {
    await this.#pool.end();
  }
}
