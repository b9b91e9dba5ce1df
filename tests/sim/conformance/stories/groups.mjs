// Groups: made, talked in by all three kinds of members, and changed.
import { item, same, step, until } from '../report.mjs'

export async function groups ({ sim, alice, bob, numbers: { ALICE, BOB, CAROL } }) {
  const user = number => `${number}@s.whatsapp.net`
  const group = await item('a group is created', async () => {
    const made = await alice.socket.groupCreate('Club', [user(BOB), user(CAROL)])
    same([made.subject, made.participants.length], ['Club', 3], 'the group')
    return made.id
  })
  if (!group) return
  await item('its members see it', async () => {
    const found = await until('the group', async () =>
      (await bob.socket.groupFetchAllParticipating())[group])
    same(found.subject, 'Club', 'subject')
  })

  const sent = await alice.socket.sendMessage(group, { text: 'to all of you' })
  await step('a companion writes to the group', () => bob.text('to all of you'))
  await step('the phones of the group have it', () => sim.shown(BOB, sent.key.id))
  await bob.socket.sendMessage(group, { text: 'echo of the group' })
  await step('another answers', () => alice.text('echo of the group'))
  await step('and whatsapp-rust', () => alice.text('of the group'))
  await sim.admin('send', { from: BOB, to: group, text: 'from a phone to the group' })
  await step('and a phone', () => alice.text('from a phone to the group'))
  await item('a reaction in the group', async () => {
    const asked = await alice.socket.sendMessage(group, { text: 'react 🎈' })
    await until('it', () => alice.reactions.find(r => r.key.id === asked.key.id && r.reaction.text === '🎈'))
  })
  await item('a broken group message comes again', async () => {
    await sim.admin('fault', { number: BOB, kind: 'corrupt', count: 1 })
    await alice.socket.sendMessage(group, { text: 'fragile group' })
    await until('it', () => bob.text('fragile group'))
  })

  await item('the subject is changed', async () => {
    await alice.socket.groupUpdateSubject(group, 'Another club')
    await until('it', async () => (await bob.socket.groupMetadata(group)).subject === 'Another club')
  })
  await item('who is no admin cannot change members', async () => {
    const refused = await bob.socket.groupParticipantsUpdate(group, [user(CAROL)], 'remove')
      .then(done => done[0].status !== '200', () => true)
    same(refused, true, 'refused')
  })
  await item('a removed member reads no more', async () => {
    const [{ status }] = await alice.socket.groupParticipantsUpdate(group, [user(BOB)], 'remove')
    same(status, '200', 'status')
    const after = await alice.socket.sendMessage(group, { text: 'among us' })
    await until('an own copy', () => sim.shown(ALICE, after.key.id))
    same(await sim.shown(BOB, after.key.id), undefined, 'at the one who left')
  })
}
