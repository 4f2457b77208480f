// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Clients as applications with node-postgres have them: a pool keeps their
// connections, and each is checked before use. Half of them verify the server's
// certificate. They run until standard input ends; its first line says whose clients
// they are. On standard output they tell, one JSON object a line, what they have met.
'use strict'

const readline = require('node:readline')
const { setTimeout: sleep } = require('node:timers/promises')
const { Pool } = require('pg')

let ending = false
let served = 0
let renewed = 0
let longest = 0

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const about = (duration) => duration * (0.5 + Math.random())

function tell() {
  say({ served, renewed, longest })
  longest = 0
}

function makePool(target, ssl) {
  const pool = new Pool({
    host: target.host,
    port: target.port,
    user: target.user,
    password: target.password,
    database: target.database,
    ssl,
    max: target.clients / 2,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: target.patience,
    query_timeout: target.patience,
  })
  pool.on('error', () => renewed++) // An idle connection was closed; the pool has dropped it.
  pool.on('connect', (client) => client.on('error', () => {})) // The query that meets it fails, too.
  return pool
}

// closed reports whether a connection was closed while nobody used it, which the check
// is for. Source: PgBouncer src/janitor.c, client_idle_timeout and shutdown.
function closed(error) {
  const answered = error.severity !== undefined
  const late = error.message === 'Query read timeout'
  return answered ? /^client_idle_timeout$|shutting down/.test(error.message) : !late
}

const used = new WeakSet()

// sound takes a connection that answers out of the pool.
async function sound(pool, begin) {
  for (;;) {
    begin('connecting')
    const client = await pool.connect()
    const fresh = !used.has(client)
    used.add(client)
    begin('checking its connection')
    try {
      await client.query('SELECT 1')
      return client
    } catch (error) {
      client.release(error)
      if (fresh || !closed(error)) throw error
      renewed++
    }
  }
}

async function once(pool, work, begin) {
  const client = await sound(pool, begin)
  begin('running a query')
  let problem
  try {
    const sent = String(Math.random())
    const { rows } = await client.query('select $1::text as got from pg_sleep($2)', [sent, about(work) / 1000])
    if (rows[0].got !== sent) throw new Error("the answer is another query's")
  } catch (error) {
    problem = error
    throw error
  } finally {
    client.release(problem)
  }
}

async function run(pool, target) {
  let wanted = Date.now()
  while (!ending) {
    let doing, from
    try {
      await once(pool, target.work, (what) => { doing = what; from = Date.now() })
    } catch (error) {
      say({ failed: { doing: doing + (pool.options.ssl ? ' with TLS' : ''), from, until: Date.now(), error: error.message } })
      await sleep(200)
      continue
    }
    served++
    longest = Math.max(longest, Date.now() - wanted)
    await sleep(about(target.rest))
    wanted = Date.now()
  }
}

async function main(target) {
  const pools = [makePool(target, false), makePool(target, target.tls)]
  const telling = setInterval(tell, 100)
  const running = []
  for (let i = 0; i < target.clients; i++) running.push(run(pools[i % 2], target))
  await Promise.all(running)
  clearInterval(telling)
  tell()
  await Promise.all(pools.map((pool) => pool.end()))
}

const input = readline.createInterface({ input: process.stdin })
input.once('line', (line) => main(JSON.parse(line)))
input.once('close', () => { ending = true })
