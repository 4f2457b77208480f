// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { Failure, schemaMissing } from "./failure.js";
import { Runner } from "./runner.js";
import { loginOf } from "./session.js";
import { compile } from "./wasm.js";

/**
 * The engines of all logins, the least recently used first. What nobody uses makes room
 * for others, or goes after a while; then the client uploads its schema again. An engine
 * with a request or a transaction under way stays.
 */
export class Engines {
  #limits;
  #compiled = compile();
  /** @type {Map<string, {login: string, runner: Runner, used: number}>} */
  #entries = new Map();
  #sweeper;

  constructor(limits) {
    this.#limits = limits;
    this.#sweeper = setInterval(() => this.#sweep(), Math.max(1, limits.idleMilliseconds / 4)).unref();
  }

  /**
   * Returns the engine for a login and a schema's hash, or throws that the schema is missing.
   *
   * @param {import("./session.js").Session} session
   * @param {string} hash
   * @returns {Runner}
   */
  find(session, hash) {
    const key = keyOf(session, hash);
    const entry = this.#entries.get(key);
    if (!entry) throw schemaMissing();
    entry.used = Date.now();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.runner;
  }

  /**
   * Opens an engine for a schema, unless there is one.
   *
   * @param {import("./session.js").Session} session
   * @param {string} hash
   * @param {string} schema
   */
  async add(session, hash, schema) {
    const key = keyOf(session, hash);
    if (!this.#entries.has(key)) {
      const login = loginOf(session);
      this.#makeRoom(login);
      const entry = { login, used: Date.now() };
      const options = { compiled: this.#compiled, schema, session, limits: this.#limits };
      entry.runner = new Runner(options, () => this.#forget(key, entry));
      this.#entries.set(key, entry);
    }
    const { runner } = this.#entries.get(key);
    try {
      await runner.ping();
    } catch (error) {
      void runner.close();
      throw error;
    }
  }

  /** Nobody's many schemas displace the engines of others before his own. */
  #makeRoom(login) {
    const own = [...this.#entries].filter(([, entry]) => entry.login === login);
    if (own.length >= this.#limits.enginesPerLogin) this.#evict(own);
    if (this.#entries.size >= this.#limits.engines) this.#evict([...this.#entries]);
  }

  #evict(candidates) {
    const idle = candidates.find(([, { runner }]) => !runner.busy);
    if (!idle) throw new Failure(429, { error: "all query engines are busy" });
    this.#drop(...idle);
  }

  #sweep() {
    const before = Date.now() - this.#limits.idleMilliseconds;
    for (const [key, entry] of this.#entries) {
      if (entry.used < before && !entry.runner.busy) this.#drop(key, entry);
    }
  }

  #drop(key, entry) {
    this.#forget(key, entry);
    void entry.runner.close();
  }

  #forget(key, entry) {
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  /** How many transactions are open. */
  get open() {
    return [...this.#entries.values()].reduce((sum, { runner }) => sum + runner.open, 0);
  }

  /** Whether a request or a transaction is under way. */
  get busy() {
    return [...this.#entries.values()].some(({ runner }) => runner.busy);
  }

  async close() {
    clearInterval(this.#sweeper);
    await Promise.all([...this.#entries.values()].map(({ runner }) => runner.close()));
  }
}

const keyOf = (session, hash) => `${hash} ${loginOf(session)}`;
