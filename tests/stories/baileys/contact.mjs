// A contact who uses Baileys: a linked device of an account of the simulator, told what to do line by line.
//
//   NODE_EXTRA_CA_CERTS=CERTIFICATE.pem node contact.mjs HOST:PORT FOLDER NUMBER
//
// In, one JSON object a line: {"call": 1, "do": "text", ...}. Out, one a line: {"call": 1, "done": ...} or
// {"call": 1, "error": "..."}, and what happens by itself: {"event": "linked" | "message" | "update" | "reaction", ...}.
// Ends with its standard input. The packages are those of the simulator's conformance scripts.
import { createInterface } from 'node:readline'
import { Companion, baileys } from '../../sim/conformance/companion.mjs'
import { Sim } from '../../sim/conformance/sim.mjs'
import { castVote, readVote } from './votes.mjs'

// The Signal library writes sessions, keys and all, to the console.
for (const name of ['log', 'info', 'warn', 'error', 'debug']) console[name] = () => {}
const tell = line => process.stdout.write(`${JSON.stringify(line)}\n`)

const [, , address, folder, number] = process.argv
const RECENT = baileys.proto.HistorySync.HistorySyncType.RECENT

/** What came and went, by id. Keys are copies: Baileys writes over those of its own in its buffer of events. */
const known = new Map()
function remember ({ key, message }) {
  const seen = { key: structuredClone({ ...key }), message }
  if (!known.has(key.id)) known.set(key.id, seen)
  return known.get(key.id)
}
function recall (id) {
  const seen = known.get(id)
  if (!seen) throw new Error(`no message ${id}`)
  return seen
}

// Waiting for a history that nobody sends would hold everything back for 20 s.
const contact = await Companion.byQr(new Sim(address), folder, number, {
  shouldSyncHistoryMessage: ({ syncType }) => syncType !== RECENT
})
contact.socket.ev.on('messages.upsert', ({ messages }) => {
  for (const message of messages) {
    const { key } = remember(message)
    tell({ event: 'message', id: key.id, chat: key.remoteJid, fromMe: key.fromMe, message: message.message })
  }
})
contact.socket.ev.on('messages.update', updates => {
  for (const { key, update } of updates) tell({ event: 'update', id: key.id, update })
})
contact.socket.ev.on('messages.reaction', reactions => {
  for (const { key, reaction } of reactions) tell({ event: 'reaction', id: key.id, emoji: reaction.text ?? '' })
})

async function send (to, content, options) {
  const sent = await contact.socket.sendMessage(to, content, options)
  remember(sent)
  return { id: sent.key.id }
}

const bytes = text => Buffer.from(text, 'base64')
const actions = {
  text: ({ to, text, reply }) => send(to, { text }, reply ? { quoted: recall(reply) } : {}),
  react: ({ to, id, emoji }) => send(to, { react: { text: emoji, key: recall(id).key } }),
  edit: ({ to, id, text }) => send(to, { text, edit: recall(id).key }),
  revoke: ({ to, id }) => send(to, { delete: recall(id).key }),
  image: ({ to, data, caption, mimetype }) =>
    send(to, { image: bytes(data), caption, mimetype, jpegThumbnail: '' }),
  voice: ({ to, data, seconds }) =>
    send(to, { audio: bytes(data), ptt: true, seconds, waveform: new Uint8Array(64), mimetype: 'audio/ogg; codecs=opus' }),
  poll: ({ to, name, options, selectable }) =>
    send(to, { poll: { name, values: options, selectableCount: selectable } }),
  /** Chooses these options of a poll that came; none takes the vote back. */
  vote: ({ to, id, options }) => castVote(contact.socket, to, recall(id), options).then(remember).then(({ key }) => ({ id: key.id })),
  /** Which options of a poll of ours a vote names. */
  voted: ({ poll, id, options }) => ({ options: readVote(contact.socket, recall(poll), recall(id), options) }),
  /** Fetches and opens the file of a message. */
  fetch: async ({ id }) => {
    const content = await baileys.downloadMediaMessage(recall(id), 'buffer', {})
    return { data: content.toString('base64') }
  },
  read: async ({ id }) => {
    await contact.socket.readMessages([recall(id).key])
    return {}
  }
}

tell({ event: 'linked' })
for await (const line of createInterface({ input: process.stdin })) {
  const { call, do: what, ...details } = JSON.parse(line)
  try {
    if (!actions[what]) throw new Error(`nothing is called ${what}`)
    tell({ call, done: await actions[what](details) })
  } catch (error) {
    tell({ call, error: `${error?.stack ?? error}` })
  }
}
contact.end()
process.exit(0)
