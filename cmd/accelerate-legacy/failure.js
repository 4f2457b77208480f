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

/** The engine refuses the schema. */
export const startup = (msg, error_code) =>
  new Failure(400, { EngineNotStarted: { reason: { KnownEngineStartupError: { msg, error_code } } } });
