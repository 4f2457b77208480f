// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { Engine } from "./engine.js";
import { Failure, schemaMissing } from "./failure.js";
import { loginOf } from "./session.js";

/**
 * The engines of all logins, the least recently used first. What nobody uses makes room
 * for others, or goes after a while; then the client uploads its schema again. An engine
 * with a request or a transaction under way stays.
 */
export class Engines {
  #limits;
  /** @type {Map<string, {login: string, opening: Promise<Engine>, engine?: Engine, used: number}>} */
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
   * @returns {Promise<Engine>}
   */
  async find(session, hash) {
    const key = `${hash} ${loginOf(session)}`;
    const entry = this.#entries.get(key);
    if (!entry) throw schemaMissing();
    entry.used = Date.now();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.opening;
  }

  /**
   * Opens an engine for a schema, unless there is one.
   *
   * @param {import("./session.js").Session} session
   * @param {string} hash
   * @param {string} schema
   */
  async add(session, hash, schema) {
    const login = loginOf(session);
    const key = `${hash} ${login}`;
    if (!this.#entries.has(key)) {
      this.#makeRoom(login);
      const entry = { login, used: Date.now() };
      entry.opening = Engine.open(schema, session, this.#limits).then(
        (engine) => (entry.engine = engine),
        (error) => {
          this.#entries.delete(key);
          throw error;
        },
      );
      this.#entries.set(key, entry);
    }
    await this.#entries.get(key).opening;
  }

  /** Nobody's many schemas displace the engines of others before his own. */
  #makeRoom(login) {
    const own = [...this.#entries].filter(([, entry]) => entry.login === login);
    if (own.length >= this.#limits.enginesPerLogin) this.#evict(own);
    if (this.#entries.size >= this.#limits.engines) this.#evict([...this.#entries]);
  }

  #evict(candidates) {
    const idle = candidates.find(([, entry]) => entry.engine && !entry.engine.busy);
    if (!idle) throw new Failure(429, { error: "All query engines are busy" });
    this.#drop(...idle);
  }

  #sweep() {
    const before = Date.now() - this.#limits.idleMilliseconds;
    for (const [key, entry] of this.#entries) {
      if (entry.used < before && entry.engine && !entry.engine.busy) this.#drop(key, entry);
    }
  }

  #drop(key, { engine }) {
    this.#entries.delete(key);
    engine.close().catch(() => {}); // Its connections are gone already.
  }

  /** Whether a request or a transaction is under way. */
  get busy() {
    return [...this.#entries.values()].some(({ engine }) => !engine || engine.busy);
  }

  async close() {
    clearInterval(this.#sweeper);
    const all = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.allSettled(all.map(async ({ opening }) => (await opening).close()));
  }
}
