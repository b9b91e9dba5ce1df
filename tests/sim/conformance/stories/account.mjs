// App state, names, presence: what an account is beside its messages.
import { item, step, until } from '../report.mjs'

export async function appState ({ sim, alice, numbers: { ALICE, BOB } }) {
  await step('the push name is read from the app state', () => alice.auth.state.creds.me?.name === 'Alice')
  await item('a contact of the phone\'s address book is read', async () => {
    await sim.admin('contact', { number: ALICE, contact: BOB, name: 'Robert' })
    await until('the name', () => alice.contacts.find(c => c.name === 'Robert'))
  })
  await item('a chat is muted in the app state', async () => {
    const jid = `${BOB}@s.whatsapp.net`
    await alice.socket.chatModify({ mute: 8 * 60 * 60 * 1000 }, jid)
    await until('the mute', () => alice.chats.find(c => c.muteEndTime))
  })
}

export async function presence ({ sim, alice, numbers: { ALICE, BOB } }) {
  const bob = `${BOB}@s.whatsapp.net`
  await item('presence of a phone', async () => {
    await alice.socket.presenceSubscribe(bob)
    await sim.admin('presence', { number: BOB, state: 'available' })
    await until('it', () => shows(alice, 'available'))
  })
  await item('typing of a phone', async () => {
    await sim.admin('chatstate', { from: BOB, to: ALICE, state: 'composing' })
    await until('it', () => shows(alice, 'composing'))
  })
  await item('own typing', async () => {
    await alice.socket.sendPresenceUpdate('composing', bob)
    await until('it', async () => (await sim.admin(`presences/${BOB}`))
      .find(p => p.from === ALICE && p.state === 'composing'))
  })
}

const shows = (companion, state) => companion.presences.some(({ presences }) =>
  Object.values(presences).some(p => p.lastKnownPresence === state))
