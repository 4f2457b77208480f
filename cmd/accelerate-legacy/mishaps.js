// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { StatementError } from "./database.js";

/** The code by which the engine says that the adapter failed for reasons of its own. */
const adapterFailed = "P2036";

/** How many errors are remembered that the engine has not told of: it may swallow some. */
const most = 100;

/** The errors of the adapter that the engine knows by number, until it tells of them. */
export class Mishaps {
  #next = 0;
  #errors = new Map();

  registerNewError(error) {
    const id = this.#next++;
    this.#errors.set(id, error);
    this.#errors.delete(id - most);
    return id;
  }

  consumeError(id) {
    const error = this.#errors.get(id);
    this.#errors.delete(id);
    return error && { error };
  }
}

/**
 * Puts into an engine's answer why the adapter failed, in place of the error's number.
 *
 * @param {string} answer JSON, left as it is where it tells of nothing
 * @param {Mishaps} mishaps
 */
export function explain(answer, mishaps) {
  if (!answer.includes(`"${adapterFailed}"`)) return answer;
  return JSON.stringify(JSON.parse(answer), (_, value) => {
    if (value?.error_code !== adapterFailed || typeof value.meta?.id !== "number") return value;
    const { code, message } = words(mishaps.consumeError(value.meta.id)?.error);
    return { ...value, is_panic: false, error_code: code, message, meta: undefined };
  });
}

/** Says no more of an error than a client may know. */
function words(error) {
  if (error instanceof StatementError) return { code: error.code, message: error.message };
  if (error?.message?.startsWith("timeout exceeded when trying to connect")) {
    return { code: "P2024", message: "Timed out waiting for a connection to the pool" };
  }
  return { code: "P1017", message: "The pool has closed the connection" };
}
