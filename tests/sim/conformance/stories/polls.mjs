// Polls and votes. Baileys reads votes; it has no call to cast one.
import { decryptPollVote, jidNormalizedUser } from 'baileys'
import { createHash } from 'node:crypto'
import { item, same, until } from '../report.mjs'

export async function polls ({ alice, numbers: { CAROL } }) {
  const carol = `${CAROL}@s.whatsapp.net`
  await item('a poll to whatsapp-rust, and its vote', async () => {
    const poll = await alice.socket.sendMessage(carol, {
      poll: { name: 'Which?', values: ['one', 'two'], selectableCount: 1 }
    })
    const vote = await until('the vote', () => alice.messages.find(({ message }) =>
      message?.pollUpdateMessage?.pollCreationMessageKey?.id === poll.key.id))
    const selectedOptions = open(alice, poll, vote)
    const second = createHash('sha256').update('two').digest('hex')
    same(selectedOptions.map(o => Buffer.from(o).toString('hex')), [second], 'the vote')
  })
  await item('a poll from whatsapp-rust', async () => {
    await alice.socket.sendMessage(carol, { text: 'poll' })
    const poll = await until('the poll', () => alice.kind('pollCreationMessageV3'))
    const { name, options } = poll.message.pollCreationMessageV3
    same([name, options.map(o => o.optionName)], ['Tea?', ['yes', 'no']], 'the poll')
  })
}

// The JIDs in a vote's key are both phone numbers or both LIDs, whichever the
// voter saw; clients try one and then the other.
function open (alice, poll, { key, message }) {
  const { id, lid } = alice.socket.user
  const voters = [key.remoteJid, key.remoteJidAlt]
  const pairs = [id, lid].map(me => [me, voters.find(v => v?.endsWith('lid') === me.endsWith('lid'))])
  for (const [me, voter] of pairs.filter(([, voter]) => voter)) {
    try {
      return decryptPollVote(message.pollUpdateMessage.vote, {
        pollEncKey: poll.message.messageContextInfo.messageSecret,
        pollCreatorJid: jidNormalizedUser(me),
        pollMsgId: poll.key.id,
        voterJid: jidNormalizedUser(voter)
      }).selectedOptions
    } catch {
      continue
    }
  }
  throw new Error('neither pair of JIDs opens the vote')
}
