// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// plain spells what JSON has no word for, so that a bigint and a string differ.
export function plain(value) {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Date) return `Date ${value.toISOString()}`;
  if (value instanceof Uint8Array) return `Bytes ${[...value].join(" ")}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object") return value;
  if (value.constructor?.name.startsWith("Decimal")) return `Decimal ${value}`;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

// problem is what an application sees of an error. Prisma has a code of its own and
// tells the database's beside it.
export function problem(error) {
  const cause = error.meta?.driverAdapterError?.cause ?? error.cause;
  return {
    name: error.name,
    code: error.code,
    database: cause?.originalCode ?? cause?.code,
    message: error.message,
    hint: error.hint,
  };
}
