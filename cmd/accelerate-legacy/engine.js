// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { PrismaPg } from "@prisma/adapter-pg";
import { bindAdapter } from "@prisma/driver-adapter-utils";

import { openPool } from "./database.js";
import { known, startup } from "./failure.js";
import { explain, Mishaps } from "./mishaps.js";
import { instantiate } from "./wasm.js";

/** How long after its end a transaction may still be under way, in milliseconds. */
const slack = 5_000;

/** Prisma's query engine for one login and one schema, with connections of its own. */
export class Engine {
  #engine;
  #pool;
  #mishaps = new Mishaps();
  #underWay = 0;
  #requests = 0;
  /** When each open transaction is over at the latest, by its id. */
  #transactions = new Map();

  /**
   * @param {string} schema
   * @param {import("./session.js").Session} session
   */
  static async open(schema, session, limits) {
    const engine = new Engine(openPool(session, limits));
    try {
      await engine.#start(schema);
    } catch (error) {
      await engine.close();
      throw refusal(error);
    }
    return engine;
  }

  constructor(pool) {
    this.#pool = pool;
  }

  async #start(schema) {
    const adapter = bindAdapter(await new PrismaPg(this.#pool).connect(), this.#mishaps);
    const QueryEngine = instantiate();
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

  /** Whether a request or a transaction would be lost with the engine. */
  get busy() {
    const now = Date.now();
    for (const [id, end] of this.#transactions) if (end < now) this.#transactions.delete(id);
    return this.#underWay > 0 || this.#transactions.size > 0;
  }

  /**
   * @param {string} body a query or a batch, in Prisma's JSON protocol
   * @param {string} [transaction] the id of an open one
   * @returns {Promise<string>} the result, in JSON
   */
  query(body, transaction) {
    return this.#run((id) => this.#engine.query(body, "{}", transaction, id));
  }

  /**
   * Begins an interactive transaction. The engine rolls it back after its timeout.
   *
   * @param {{max_wait: number, timeout: number, isolation_level?: string}} options in milliseconds
   * @returns {Promise<string>} its id
   */
  async begin(options) {
    const answer = await this.#run((id) => this.#engine.startTransaction(JSON.stringify(options), "{}", id));
    const { id } = transactional(answer);
    this.#transactions.set(id, Date.now() + options.timeout + slack);
    return id;
  }

  commit(transaction) {
    return this.#finish(transaction, (id) => this.#engine.commitTransaction(transaction, "{}", id));
  }

  rollback(transaction) {
    return this.#finish(transaction, (id) => this.#engine.rollbackTransaction(transaction, "{}", id));
  }

  async #finish(transaction, call) {
    const answer = await this.#run(call);
    this.#transactions.delete(transaction);
    transactional(answer);
    return "{}";
  }

  async #run(call) {
    this.#underWay++;
    try {
      return explain(await call(this.#requestId()), this.#mishaps);
    } finally {
      this.#underWay--;
    }
  }

  #requestId() {
    return String(++this.#requests);
  }

  /** Frees the engine, and closes the connections, those of open transactions at once. */
  async close() {
    await this.#engine?.disconnect("{}", this.#requestId());
    this.#engine?.free();
    await this.#pool.end();
  }
}

/** Reads the answer to a call about a transaction; an error of it has a code and no result around it. */
function transactional(answer) {
  const read = JSON.parse(answer);
  if (read.error_code !== undefined) throw known(read);
  if (typeof read.message === "string") throw known({ message: read.message, error_code: "P2028" });
  return read;
}

/** What the client is told where the schema makes no engine; the engine says so in JSON. */
function refusal(error) {
  try {
    const { message, error_code } = JSON.parse(error.message);
    return startup(message, error_code);
  } catch {
    return startup("the schema makes no query engine", "P1012");
  }
}
