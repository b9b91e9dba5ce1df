// The history a phone sends to a new companion.
import { downloadMediaMessage } from 'baileys'
import { item, same, step, until } from '../report.mjs'

const CHATS = 3
const MESSAGES = 14

/** Gives the phone a past; before it links anything. */
export const past = (sim, number) =>
  sim.admin('history', { number, chats: CHATS, messages_per_chat: MESSAGES, days: 30 })

export async function history ({ sim, alice, numbers: { ALICE } }) {
  const old = () => alice.history.flatMap(chunk => chunk.messages).filter(m => m.key.id.startsWith('3AOLD'))
  await item('reads the history sent at pairing', async () => {
    const ids = await until('all of it', () => {
      const ids = new Set(old().map(m => m.key.id))
      return ids.size >= CHATS * MESSAGES && ids
    })
    same(ids.size, CHATS * MESSAGES, 'messages')
  })
  await step('with the names of people', () =>
    ['Friend 1', 'Friend 2', 'Friend 3'].every(name => named(alice, name)))
  await item('with reactions', () => same(old().find(m => m.reactions?.length)?.reactions[0].text, '👍', 'text'))
  await item('and votes', () => same(old().some(m => m.pollUpdates?.length > 0), true, 'found'))
  await item('and pictures that can be fetched', async () => {
    const picture = old().find(m => m.message?.imageMessage)
    const found = await downloadMediaMessage(picture, 'buffer', {})
    const response = await fetch(`https://${sim.address}/admin/media/${ALICE}/${picture.key.id}`)
    same(found.equals(Buffer.from(await response.arrayBuffer())), true, 'the same file')
  })
}

const named = (companion, name) => companion.history.some(({ contacts }) =>
  contacts.some(c => c.name === name || c.notify === name))
