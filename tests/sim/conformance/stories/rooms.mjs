// Groups, status, broadcast lists, calls, newsletters. Each story listens for
// itself to the events it needs.
import { item, same, step } from '../report.mjs'

const pn = number => `${number}@s.whatsapp.net`
const DAVE = '15550004'
const EVENTS = ['groups.upsert', 'groups.update', 'group-participants.update', 'call']

/** All events of these kinds from now on, in one list. */
function listen (companion) {
  const heard = []
  for (const name of EVENTS) companion.socket.ev.on(name, event => heard.push(...[event].flat()))
  return heard
}

/** Expects a refusal with this code. */
async function refused (code, promise) {
  const error = await promise.then(() => undefined, error => error)
  if (!error) throw new Error('it was not refused')
  return same(error.data ?? error.output?.statusCode, code, 'the code')
}

const members = async (sim, group) => (await sim.admin(`groups/${group}`)).members.map(m => m.number)

export async function talk ({ sim, alice, bob, addressing, numbers: { ALICE, BOB, CAROL } }) {
  const heard = listen(bob)
  const made = await item('makes a group', () => alice.socket.groupCreate('Friends', [pn(BOB), pn(CAROL)]))
  const group = made.id
  await step('hears of a new group', () => heard.find(e => e.id === group && e.subject === 'Friends'))
  await item('asks what a group is like', async () => {
    const found = await bob.socket.groupMetadata(group)
    same(found.addressingMode, addressing, 'addressing')
    same(found.participants.map(p => p.admin), ['superadmin', null, null], 'roles')
  })
  const sent = await alice.socket.sendMessage(group, { text: 'to the group' })
  await step('writes to a group: a companion reads it', () => bob.text('to the group'))
  await step('writes to a group: phones read it', async () =>
    await sim.shown(CAROL, sent.key.id) && sim.shown(ALICE, sent.key.id))
  await sim.admin('send', { from: CAROL, to: group, text: 'a phone to the group' })
  await step('reads what a phone wrote to a group', () =>
    alice.text('a phone to the group') && bob.text('a phone to the group'))
  const back = await bob.socket.sendMessage(group, { text: 'and back to the group' })
  const got = await step('reads the answer', () => alice.text('and back to the group'))
  await alice.socket.readMessages([got.key])
  await step('reads in a group: the author hears of it', () => sim.receipt(BOB, 'read', back.key.id))

  await sim.admin('fault', { number: ALICE, kind: 'corrupt', count: 1 })
  await sim.admin('send', { from: CAROL, to: group, text: 'fragile in the group' })
  await step('asks for what it could not read in a group', () => alice.text('fragile in the group'))
  await sim.admin('fault', { number: CAROL, kind: 'corrupt_to_phone', count: 1 })
  const again = await alice.socket.sendMessage(group, { text: 'fragile to a phone' })
  await step('sends again to a phone in a group', () => sim.shown(CAROL, again.key.id))
  await sim.admin('fault', { number: BOB, kind: 'corrupt', count: 1 })
  await alice.socket.sendMessage(group, { text: 'fragile to a companion' })
  await step('sends again to a companion in a group', () => bob.text('fragile to a companion'))
  return group
}

export async function administration ({ sim, alice, bob, numbers: { BOB, CAROL } }) {
  const heard = listen(bob)
  const { id: group } = await alice.socket.groupCreate('Council', [pn(BOB), pn(CAROL)])
  await sim.admin('accounts', { number: DAVE, push_name: 'Dave' })
  await sim.admin('groups/adds', { number: DAVE, allowed: false })
  await item('adds people: a result for each', async () => {
    const results = await alice.socket.groupParticipantsUpdate(group, [pn(DAVE), pn('15559999'), pn(BOB)], 'add')
    same(results.map(r => r.status).sort(), ['403', '404', '409'], 'results')
  })
  await alice.socket.groupParticipantsUpdate(group, [pn(BOB)], 'promote')
  await step('promotes', () => heard.find(e => e.action === 'promote'))
  await alice.socket.groupParticipantsUpdate(group, [pn(BOB)], 'demote')
  await step('demotes', () => heard.find(e => e.action === 'demote'))
  await alice.socket.groupUpdateSubject(group, 'Elders')
  await step('changes the subject', () => heard.find(e => e.subject === 'Elders'))
  await alice.socket.groupUpdateDescription(group, 'once')
  await alice.socket.groupUpdateDescription(group, 'twice')
  await step('changes the description', () => heard.find(e => e.desc === 'twice'))
  await item('takes the description away', () => alice.socket.groupUpdateDescription(group))
  for (const setting of ['announcement', 'not_announcement', 'locked', 'unlocked']) {
    await alice.socket.groupSettingUpdate(group, setting)
  }
  await step('changes who may do what', () =>
    heard.find(e => e.restrict === false) && heard.find(e => e.announce === false))
  await alice.socket.groupMemberAddMode(group, 'admin_add')
  await step('changes who may add', () => heard.find(e => e.memberAddMode !== undefined))
  await alice.socket.groupToggleEphemeral(group, 86400)
  await alice.socket.groupToggleEphemeral(group, 0)
  await alice.socket.groupJoinApprovalMode(group, 'on')
  await step('lets admins approve', () => heard.find(e => e.joinApprovalMode !== undefined))
  const code = await alice.socket.groupInviteCode(group)
  await item('the link is for admins', () => refused(401, bob.socket.groupInviteCode(group)))
  await sim.admin('groups/join', { number: DAVE, code })
  await item('approves somebody who asks', async () => {
    const [request] = await alice.socket.groupRequestParticipantsList(group)
    const [result] = await alice.socket.groupRequestParticipantsUpdate(group, [request.jid], 'approve')
    same(result.status, '200', 'result')
    same((await members(sim, group)).includes(DAVE), true, 'is in')
  })
  await item('resets the link', async () => {
    await alice.socket.groupRevokeInvite(group)
    await refused(410, bob.socket.groupGetInviteInfo(code))
  })
  await alice.socket.groupParticipantsUpdate(group, [pn(BOB)], 'remove')
  await step('is removed', () => heard.find(e => e.action === 'remove'))
  await item('a group one is not in stays closed', () => refused(403, bob.socket.groupMetadata(group)))
  await item('leaves', async () => {
    await alice.socket.groupLeave(group)
    same(Object.keys(await alice.socket.groupFetchAllParticipating()).includes(group), false, 'still in it')
  })
}

export async function broadcasts ({ sim, alice, bob, numbers: { ALICE, BOB, CAROL } }) {
  await sim.admin('status', { from: CAROL, audience: [ALICE], text: 'a status' })
  await step('sees a status', () => alice.text('a status')?.key.remoteJid === 'status@broadcast')
  await alice.socket.sendMessage('status@broadcast', { text: 'my status' }, { statusJidList: [pn(BOB), pn(CAROL)] })
  await step('posts a status', async () => bob.text('my status') &&
    (await sim.admin(`inbox/${CAROL}`)).find(shown => shown.chat === 'status@broadcast'))
  const { jid } = await sim.admin('lists', { number: ALICE, people: [BOB, CAROL] })
  await sim.admin('send', { from: ALICE, to: jid, text: 'to the list' })
  await step('has the copy of a broadcast list', () => alice.text('to the list')?.key.remoteJid === jid)
  await step('gets a broadcast as a direct message', () => bob.text('to the list'))
}

export async function calls ({ sim, alice, numbers: { ALICE, BOB } }) {
  const heard = listen(alice)
  const { id } = await sim.admin('calls', { from: BOB, to: ALICE, video: true })
  const offer = await step('is called', () => heard.find(call => call.id === id && call.status === 'offer'))
  await alice.socket.rejectCall(id, offer.from)
  await step('rejects', async () => (await sim.admin('calls')).find(call => call.id === id && call.state === 'rejected'))
  const { id: missed } = await sim.admin('calls', { from: BOB, to: ALICE })
  await step('is called again', () => heard.find(call => call.id === missed && call.status === 'offer'))
  await sim.admin('calls/act', { number: BOB, id: missed, action: 'terminate', reason: 'timeout' })
  await step('misses a call', () => heard.find(call => call.id === missed && call.status === 'timeout'))
}

export async function newsletters ({ sim, alice, bob }) {
  const made = await item('makes a newsletter', () => alice.socket.newsletterCreate('News', 'what happens'))
  await item('follows it', async () => {
    await bob.socket.newsletterFollow(made.id)
    const found = await bob.socket.newsletterMetadata('jid', made.id)
    same(found.thread_metadata.name.text, 'News', 'name')
  })
  await alice.socket.sendMessage(made.id, { text: 'a post' })
  await step('publishes and reads a post', () => bob.text('a post'))
  await bob.socket.newsletterReactMessage(made.id, '100', '👍')
  await step('reacts to a post', async () =>
    (await sim.admin(`newsletters/${made.id}`)).posts[0].reactions['👍'] === 1)
  await item('asks for posts of the past and live counts', async () => {
    const { content: [updates] } = await bob.socket.newsletterFetchMessages(made.id, 10, 0, 0)
    same(updates.content[0].content.length, 1, 'posts')
    same(await bob.socket.subscribeNewsletterUpdates(made.id), { duration: '300' }, 'duration')
  })
  await item('silences, renames, leaves and ends it', async () => {
    await bob.socket.newsletterMute(made.id)
    await bob.socket.newsletterUnmute(made.id)
    await alice.socket.newsletterUpdateName(made.id, 'Newer')
    same(await alice.socket.newsletterAdminCount(made.id), 1, 'admins')
    await bob.socket.newsletterUnfollow(made.id)
    await alice.socket.newsletterDelete(made.id)
  })
}
