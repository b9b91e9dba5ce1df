// Baileys against a running simulator: links, plays the stories, and says of
// each item `ok` or `failed`. Ends with status 0 when all were ok.
//
//   NODE_EXTRA_CA_CERTS=CERTIFICATE.pem node run.mjs HOST:PORT lid|pn
//
// The account CAROL must have a whatsapp-rust client that answers (bot.rs).
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Companion } from './companion.mjs'
import { item, same, tally } from './report.mjs'
import { Sim } from './sim.mjs'
import { appState, presence } from './stories/account.mjs'
import { groups } from './stories/groups.mjs'
import { history, past } from './stories/history.mjs'
import { media } from './stories/media.mjs'
import { withBot, withCompanion, withPhone } from './stories/messages.mjs'
import { polls } from './stories/polls.mjs'
import * as rooms from './stories/rooms.mjs'
import { cut, retries, unlink } from './stories/trouble.mjs'

const [, , address, addressing] = process.argv
const numbers = { ALICE: '15550001', BOB: '15550002', CAROL: '15550003' }
const folder = mkdtempSync(join(tmpdir(), 'whatsapp-sim-baileys-'))
const sim = new Sim(address)

async function play () {
  await past(sim, numbers.ALICE)
  const alice = await item('pairs by QR', () => Companion.byQr(sim, folder, numbers.ALICE))
  const bob = await item('pairs by code', () => Companion.byCode(sim, folder, numbers.BOB))
  if (!alice || !bob) return
  const stage = { sim, alice, bob, addressing, numbers }
  const stories = [
    history, withPhone, withCompanion, withBot, media, polls, groups,
    rooms.talk, rooms.administration, rooms.broadcasts, rooms.calls, rooms.newsletters,
    appState, presence, retries, cut, unlink
  ]
  for (const story of stories) {
    // Its items report themselves; this is for what happens between them.
    await story(stage).catch(error => item(story.name, () => { throw error }))
  }
  await item('every stanza was understood', async () => same(await sim.admin('unknown'), [], 'not understood'))
  alice.end()
}

await play()
rmSync(folder, { recursive: true, force: true })
process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1)
