// Votes. Baileys opens them but has no call to cast one: sealing is done here, by the same steps backwards, and Baileys
// sends what comes out.
import { createCipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import { baileys } from '../../sim/conformance/companion.mjs'

const { decryptPollVote, jidNormalizedUser, proto } = baileys
const sha256 = text => createHash('sha256').update(text).digest()

/** Us and the other side of a poll, once as numbers and once as LIDs: which of the two was meant nobody says. */
function pairs (socket, key) {
  const others = [key.remoteJid, key.remoteJidAlt].filter(Boolean)
  return [socket.user.lid, socket.user.id].filter(Boolean).flatMap(me => {
    const other = others.find(jid => jid.endsWith('lid') === me.endsWith('lid'))
    return other ? [{ me: jidNormalizedUser(me), other: jidNormalizedUser(other) }] : []
  })
}

export async function castVote (socket, to, poll, options) {
  const [{ me, other }] = pairs(socket, poll.key)
  const creator = poll.key.fromMe ? me : other
  const secret = poll.message.messageContextInfo.messageSecret
  const id = poll.key.id
  const first = createHmac('sha256', new Uint8Array(32)).update(secret).digest()
  const key = createHmac('sha256', first).update(`${id}${creator}${me}Poll Vote`).update(Buffer.from([1])).digest()
  const encIv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, encIv)
  cipher.setAAD(Buffer.from(`${id}\0${me}`))
  const vote = proto.Message.PollVoteMessage.encode({ selectedOptions: options.map(sha256) }).finish()
  const encPayload = Buffer.concat([cipher.update(vote), cipher.final(), cipher.getAuthTag()])
  const { remoteJid, fromMe } = poll.key
  const message = {
    pollUpdateMessage: {
      pollCreationMessageKey: { remoteJid, fromMe, id }, vote: { encPayload, encIv }, senderTimestampMs: Date.now()
    }
  }
  const messageId = await socket.relayMessage(to, message, {})
  return { key: { remoteJid: to, fromMe: true, id: messageId }, message }
}

/** The options, of those there are, that a vote chose. */
export function readVote (socket, poll, vote, options) {
  for (const { me, other } of pairs(socket, vote.key)) {
    try {
      const { selectedOptions } = decryptPollVote(vote.message.pollUpdateMessage.vote, {
        pollEncKey: poll.message.messageContextInfo.messageSecret,
        pollCreatorJid: poll.key.fromMe ? me : other,
        pollMsgId: poll.key.id,
        voterJid: vote.key.fromMe ? me : other
      })
      const chosen = selectedOptions.map(hash => Buffer.from(hash).toString('hex'))
      return options.filter(option => chosen.includes(sha256(option).toString('hex')))
    } catch {
      continue
    }
  }
  throw new Error('neither pair of JIDs opens the vote')
}
