// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Results as JSON that keeps what they are made of and the order of keys, and hides
// what is new in every run.

const day = 24 * 60 * 60 * 1000;

// What is generated, by its shape. Nothing that the corpus stores itself looks like it.
const shapes = {
  uuid4: /^(?!0{8}|f{8})[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  uuid7: /^0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  cuid: /^c[0-9a-z]{24}$/,
  cuid2: /^[a-z][0-9a-z]{23}$/,
  ulid: /^0[0-9A-HJKMNP-TV-Z]{25}$/,
};
const numbered = /\b([Pp]rocess|transaction) \d+/g;
const around = /^\nInvalid `.*` invocation:\n+|\n\nThis is a non-recoverable error[^]*/g;
const moment = /\b20[2-9]\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:Z|\+00(?::?00)?)?/g;
const named = { nanoid: /^[0-9A-Za-z_-]{21}$/, nano8: /^[0-9A-Za-z_-]{8}$/ };

// normal returns what JSON.stringify makes the same of the same results. What a driver
// said of an error is an Error where the driver is near, and its JSON where it is not.
export function normal(value, Prisma) {
  const seen = new Map();
  return walk(value, undefined);

  function walk(value, key) {
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "string") return text(value, key);
    if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0) ? value : { $number: String(value) };
    if (typeof value === "bigint") return { $bigint: String(value) };
    if (typeof value !== "object") return { $other: typeof value };
    if (value instanceof Error) return key === "driverAdapterError" ? walk({ name: value.name, cause: value.cause }) : problem(value);
    if (value instanceof Date) return date(value);
    if (Prisma.Decimal.isDecimal(value)) return { $decimal: value.toFixed() };
    if (ArrayBuffer.isView(value)) return { $bytes: hex(value), of: value.constructor.name };
    if (Array.isArray(value)) return value.map((item) => walk(item, undefined));
    const members = Object.entries(value).filter(([, item]) => item !== undefined);
    return Object.fromEntries(members.map(([name, item]) => [name, walk(item, name)]));
  }

  // text is masked so that equal texts stay equal, and others stay others.
  function text(value, key) {
    for (const [shape, pattern] of Object.entries(named[key] ? { [key]: named[key] } : shapes)) {
      if (!pattern.test(value)) continue;
      if (!seen.has(value)) seen.set(value, seen.size + 1);
      return `<${shape} ${seen.get(value)}>`;
    }
    return value.replace(numbered, "$1 N").replace(moment, (at) => (Math.abs(new Date(at) - Date.now()) < day ? "<now>" : at));
  }

  // What Prisma gives no code, such as an error that its driver does not know, is thrown as
  // it is by a client by itself and comes as P6000 over the wire: its message is all that
  // is the same, without the stack where a compiler gave up. Of what a server adds to an
  // error, its logs are its own.
  function problem({ name, code, message, meta, cause }) {
    if (code === undefined || code === "P6000") return { $error: { uncoded: walk(message.replace(around, "")) } };
    const { extensions, ...told } = meta ?? {};
    return { $error: walk({ name, code, message, meta: meta && told, cause }) };
  }
}

const date = (value) => ({
  $date: Number.isNaN(value.getTime()) ? "invalid" : Math.abs(value - Date.now()) < day ? "<now>" : value.toISOString(),
});

const hex = (view) =>
  Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), (byte) => byte.toString(16).padStart(2, "0")).join("");
