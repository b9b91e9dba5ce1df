// One line for each item: `ok NAME` or `failed NAME: reason`.

// The Signal library writes sessions, keys and all, to the console.
if (!process.env.BAILEYS_LOG) {
  for (const name of ['log', 'info', 'warn', 'error', 'debug']) console[name] = () => {}
}
const print = line => process.stdout.write(`${line}\n`)

// Baileys keeps its events back for up to 20 s while it hopes for a history.
const LIMIT = 60_000
const PAUSE = 25

export const tally = { passed: 0, failed: 0 }

/** Asks `check` until it finds something; nothing in the protocol says when. */
export async function until (what, check) {
  const deadline = Date.now() + LIMIT
  while (Date.now() < deadline) {
    const found = await check()
    if (found) return found
    await new Promise(resolve => setTimeout(resolve, PAUSE))
  }
  throw new Error(`waited ${LIMIT / 1000} s for ${what}`)
}

/** Runs one item and says how it went; what it returns is passed on. */
export async function item (name, work) {
  try {
    const result = await work()
    tally.passed += 1
    print(`ok ${name}`)
    return result
  } catch (error) {
    tally.failed += 1
    print(`failed ${name}: ${error.stack ?? error}`)
    return undefined
  }
}

/** As `item`, for something that comes about by itself. */
export const step = (name, check) => item(name, () => until(name, check))

export function same (found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)]
  if (left !== right) throw new Error(`${what}: found ${left}, expected ${right}`)
  return true
}
