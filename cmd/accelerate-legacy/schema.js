// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { createHash } from "node:crypto";

import { invalid } from "./failure.js";

/**
 * Reads an upload: a Prisma schema in base64, whose SHA-256 is the hash in the path. The
 * hash is over the base64 text, in clients 5 and 6.
 *
 * @param {Buffer} body
 * @param {string} hash 64 hexadecimal digits
 * @returns {string} the schema
 */
export function readSchema(body, hash) {
  const text = body.toString("latin1");
  const decoded = Buffer.from(text, "base64");
  if (text === "" || decoded.toString("base64") !== text) {
    throw invalid("the schema is not in base64");
  }
  if (createHash("sha256").update(body).digest("hex") !== hash) {
    throw invalid("the schema is not the one whose hash is in the path");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(decoded);
  } catch {
    throw invalid("the schema is not UTF-8");
  }
}
