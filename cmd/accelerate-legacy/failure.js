// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

/** An answer other than 200, in the form that Prisma's client reads (responseToError). */
export class Failure extends Error {
  /**
   * @param {number} status HTTP's
   * @param {object} body
   */
  constructor(status, body) {
    super(JSON.stringify(body));
    this.status = status;
    this.body = body;
  }
}

/** The client uploads the schema and asks again. */
export const schemaMissing = () => new Failure(404, { EngineNotStarted: { reason: "SchemaMissing" } });

/** What the request lacks; the client shows the reason. */
export const invalid = (reason, status = 400) => new Failure(status, { InvalidRequestError: { reason } });

/** An error with a code of Prisma's, where there is no result that it could be part of. */
export const known = ({ message, error_code, meta }, status = 400) =>
  new Failure(status, { is_panic: false, message, error_code, meta });

/** No engine comes of the schema. */
export const startup = (msg) => new Failure(400, { EngineNotStarted: { reason: { KnownEngineStartupError: { msg, error_code: "P1012" } } } });

/** Whatever it is, the client is told no more: the words may have values in them. */
export const unreadable = () => new Failure(400, { error: "the query engine can not read the request" });

/** The client tries again. */
export const broken = () => new Failure(500, { error: "the query engine broke down" });
