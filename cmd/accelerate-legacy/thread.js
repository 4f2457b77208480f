// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// A thread with one engine. Each message {id, call, args} is a call of one of its methods,
// and is answered by {id, answer} or {id, failure: {status, body}}.
import { parentPort, workerData } from "node:worker_threads";

import { Engine } from "./engine.js";
import { Failure, startup, unreadable } from "./failure.js";

const opening = Engine.open(workerData).catch(() => {
  throw startup("the schema makes no query engine");
});
opening.catch(() => {}); // Whoever calls is told of it.

parentPort.on("message", async ({ id, call, args }) => {
  try {
    const engine = await opening;
    parentPort.postMessage({ id, answer: await engine[call](...args) });
  } catch (error) {
    const { status, body } = error instanceof Failure ? error : unreadable();
    parentPort.postMessage({ id, failure: { status, body } });
  }
});
