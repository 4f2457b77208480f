// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compileFunction } from "node:vm";

const require = createRequire(import.meta.url);
const runtime = "@prisma/client/runtime/query_engine_bg.postgresql";

const bindings = compileFunction(readFileSync(require.resolve(`${runtime}.js`), "utf8"), ["module"]);
const compiled = new WebAssembly.Module(Buffer.from(require(`${runtime}.wasm-base64.js`).wasm, "base64"));

/**
 * Returns Prisma's QueryEngine class, bound to a WebAssembly instance that nobody
 * shares: one login's engine has no memory in common with another's, and all of it goes
 * when the engine does.
 */
export function instantiate() {
  const module = { exports: {} };
  bindings(module);
  const { exports } = new WebAssembly.Instance(compiled, { "./query_engine_bg.js": module.exports });
  module.exports.__wbg_set_wasm(exports);
  exports.__wbindgen_start();
  return module.exports.QueryEngine;
}
