// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { Worker } from "node:worker_threads";

import { broken, Failure } from "./failure.js";

/** How long after its end a transaction may still be under way, in milliseconds. */
const slack = 1_000;

/**
 * An engine in a thread of its own. A schema or a query on which the engine breaks, fills
 * its memory, or computes without end, ends that thread, and takes nothing from others.
 */
export class Runner {
  #worker;
  #calls = new Map();
  #next = 0;
  #watch;
  #ended = false;
  /** Whether the thread has not answered the last look. */
  #looking = false;
  /** When each open transaction is over at the latest, by its id. */
  #transactions = new Map();

  /**
   * @param {object} options see Engine.open
   * @param {() => void} ended is called when the thread is no more
   */
  constructor(options, ended) {
    const { megabytes, silenceMilliseconds } = options.limits;
    this.#worker = new Worker(new URL("thread.js", import.meta.url), {
      workerData: options,
      resourceLimits: { maxOldGenerationSizeMb: megabytes },
    });
    this.#worker.on("message", (message) => this.#settle(message));
    this.#worker.on("error", () => {}); // The end follows.
    this.#worker.on("exit", () => {
      this.#ended = true;
      clearInterval(this.#watch);
      for (const { reject } of this.#calls.values()) reject(broken());
      this.#calls.clear();
      this.#transactions.clear();
      ended();
    });
    this.#watch = setInterval(() => this.#look(), silenceMilliseconds);
  }

  /** How many transactions are open. */
  get open() {
    const now = Date.now();
    for (const [id, end] of this.#transactions) if (end < now) this.#transactions.delete(id);
    return this.#transactions.size;
  }

  /** Whether a request or a transaction would be lost with the thread. */
  get busy() {
    return this.#calls.size > (this.#looking ? 1 : 0) || this.open > 0;
  }

  /** @returns {Promise<string>} see Engine.query */
  query(body, transaction) {
    return this.#call("query", body, transaction);
  }

  /** @returns {Promise<string>} see Engine.begin */
  async begin(options) {
    const id = await this.#call("begin", options);
    this.#transactions.set(id, Date.now() + options.timeout + slack);
    return id;
  }

  /** @param {"commit"|"rollback"} how */
  async finish(transaction, how) {
    await this.#call(how, transaction);
    this.#transactions.delete(transaction);
  }

  /** Waits until the engine can be used. */
  ping() {
    return this.#call("ping");
  }

  async close() {
    await this.#call("close").catch(() => {}); // What is left goes with the thread.
    await this.#worker.terminate();
  }

  #call(call, ...args) {
    if (this.#ended) return Promise.reject(broken());
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, call, args });
    });
  }

  #settle({ id, answer, failure }) {
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    if (failure) reject(new Failure(failure.status, failure.body));
    else resolve(answer);
  }

  /** Ends a thread that has had all the time since the last look and did not answer. */
  #look() {
    if (this.#looking) {
      void this.#worker.terminate();
      return;
    }
    this.#looking = true;
    this.ping().then(
      () => (this.#looking = false),
      () => {}, // The thread is no more.
    );
  }
}
