// What goes wrong, and is mended.
import { DisconnectReason } from 'baileys'
import { item, step, until } from '../report.mjs'

export async function retries ({ sim, alice, numbers: { ALICE, BOB } }) {
  await sim.admin('fault', { number: ALICE, kind: 'corrupt', count: 1 })
  await sim.admin('send', { from: BOB, to: ALICE, text: 'fragile' })
  await step('a broken message comes again', () => alice.text('fragile'))
  await sim.admin('fault', { number: BOB, kind: 'corrupt_to_phone', count: 1 })
  const retried = await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'fragile too' })
  await step('and to a phone', () => sim.shown(BOB, retried.key.id))
}

export async function cut ({ sim, alice, numbers: { ALICE, BOB } }) {
  const before = alice.opened
  await item('it comes back after a cut', async () => {
    await sim.admin('fault', { number: ALICE, kind: 'cut', count: 1 })
    const sent = await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'cut short' })
    await until('the message', () => sim.shown(BOB, sent.key.id))
    await until('the connection', () => alice.opened > before)
  })
  await item('what got lost comes at the next login', async () => {
    await sim.admin('fault', { number: ALICE, kind: 'drop', count: 1 })
    await sim.admin('send', { from: BOB, to: ALICE, text: 'lost at first' })
    await sim.admin('disconnect', { number: ALICE })
    await until('the connection', () => alice.opened > before + 1)
    await until('the message', () => alice.text('lost at first'))
  })
  await item('and it still writes', async () => {
    const sent = await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'after the cuts' })
    await until('the message', () => sim.shown(BOB, sent.key.id))
  })
}

export async function unlink ({ sim, bob, numbers: { BOB } }) {
  await sim.admin('unlink', { number: BOB, device: 1 })
  await step('an unlinked device is told', () => bob.closed.includes(DisconnectReason.loggedOut))
}
