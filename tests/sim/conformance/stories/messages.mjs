// Direct messages, receipts, and what changes a message afterwards.
import { item, same, step, until } from '../report.mjs'

// Message states as Baileys numbers them.
const DELIVERED = 3
const READ = 4

export async function withPhone ({ sim, alice, numbers: { ALICE, BOB } }) {
  await sim.admin('send', { from: BOB, to: ALICE, text: 'phone to companion' })
  const first = await step('a phone writes to a companion', () => alice.text('phone to companion'))
  await item('the writer\'s push name is told', () => same(first?.pushName, 'Bob', 'push name'))
  await sim.admin('send', { from: ALICE, to: BOB, text: 'own phone' })
  const own = await step('what the own phone sends is seen', () => alice.text('own phone'))
  await item('as sent by oneself', () => same(own?.key.fromMe, true, 'fromMe'))

  const sent = await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'to phones' })
  await step('a companion writes to a phone', () => sim.shown(BOB, sent.key.id))
  const copy = await step('its own phone has a copy', () => sim.shown(ALICE, sent.key.id))
  await item('marked as its own', () => same(copy?.from_me, true, 'from_me'))
  await step('delivery receipt', () => alice.state(sent.key.id) >= DELIVERED)
  await sim.admin('read', { number: BOB, chat: ALICE, ids: [sent.key.id] })
  await step('read receipt of a phone', () => alice.state(sent.key.id) >= READ)
  await alice.socket.readMessages([first.key])
  await step('a companion reads', () => sim.receipt(BOB, 'read', first.key.id))
}

export async function withCompanion ({ sim, alice, bob, numbers: { ALICE, BOB } }) {
  await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'to companions' })
  await step('a companion writes to a companion', () => bob.text('to companions'))
  await bob.socket.sendMessage(`${ALICE}@s.whatsapp.net`, { text: 'and back' })
  const back = await step('and back', () => alice.text('and back'))
  await alice.socket.readMessages([back.key])
  await step('which is read', () => sim.receipt(BOB, 'read', back.key.id))
}

/** With the whatsapp-rust client, which answers what it is asked in words. */
export async function withBot ({ sim, alice, numbers: { CAROL } }) {
  const carol = `${CAROL}@s.whatsapp.net`
  const sent = await alice.socket.sendMessage(carol, { text: 'echo hello' })
  const echo = await step('whatsapp-rust answers', () => alice.text('hello'))
  // Told once the devices have it: Baileys keeps the last state of several that
  // come at once, not the highest.
  await alice.socket.sendMessage(carol, { text: `read ${sent.key.id}` })
  await step('and has read it', () => alice.state(sent.key.id) >= READ)
  await item('reading its answer', async () => {
    await alice.socket.readMessages([echo.key])
    await until('the receipt', () => alice.text(`saw read ${echo.key.id}`))
  })

  await item('a reaction to whatsapp-rust', async () => {
    await alice.socket.sendMessage(carol, { react: { text: '👍', key: echo.key } })
    await until('the answer', () => alice.text(`saw reaction 👍 ${echo.key.id}`))
  })
  await item('a reaction from whatsapp-rust', async () => {
    const asked = await alice.socket.sendMessage(carol, { text: 'react 🎉' })
    const { reaction } = await until('the reaction', () => alice.reactions.find(r => r.key.id === asked.key.id))
    same(reaction.text, '🎉', 'emoji')
  })
  await item('an edit to whatsapp-rust', async () => {
    const original = await alice.socket.sendMessage(carol, { text: 'befor' })
    await alice.socket.sendMessage(carol, { text: 'before', edit: original.key })
    await until('the answer', () => alice.text(`saw edit before ${original.key.id}`))
  })
  await item('an edit from whatsapp-rust', async () => {
    await alice.socket.sendMessage(carol, { text: 'echo first words' })
    const { key: { id } } = await until('the message', () => alice.text('first words'))
    await alice.socket.sendMessage(carol, { text: `edit ${id}` })
    const change = await until('the edit', () => alice.updates.find(u =>
      u.key.id === id && u.update.message?.editedMessage))
    const content = change.update.message.editedMessage.message
    same(content.conversation ?? content.extendedTextMessage?.text, 'second words', 'text')
  })
  await item('a revoke to whatsapp-rust', async () => {
    const { key } = await alice.socket.sendMessage(carol, { text: 'not this' })
    // Baileys may write the key of the revoke over that of the message.
    const { id } = key
    await alice.socket.sendMessage(carol, { delete: key })
    await until('the answer', () => alice.text(`saw revoke ${id}`))
  })
  await item('a revoke from whatsapp-rust', async () => {
    await alice.socket.sendMessage(carol, { text: 'echo taken back' })
    const { key: { id } } = await until('the message', () => alice.text('taken back'))
    await alice.socket.sendMessage(carol, { text: `revoke ${id}` })
    await until('the revoke', () => alice.updates.find(u =>
      u.key.id === id && u.update.message === null))
  })
}
