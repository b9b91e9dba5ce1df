// The simulator against Baileys, a client that shares no code with it.
//
//   npm install
//   node baileys.mjs PATH-TO-whatsapp-sim [lid|pn]
//
// Starts the simulator, links two companions and plays a story. The only
// concession is the option `waWebSocketUrl`. Ends with status 0 when all
// arrived and the simulator understood every stanza.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import makeWASocket, { DisconnectReason, useMultiFileAuthState } from 'baileys'
import pino from 'pino'

const [, , binary, addressing = 'lid'] = process.argv
const ALICE = '15550001'
const BOB = '15550002'
// Message states as Baileys numbers them.
const DELIVERED = 3
const READ = 4

const sim = spawn(binary, ['--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] })
const [line] = await once(createInterface({ input: sim.stdout }), 'line')
const base = line.replace('listening on ', '')
const folder = mkdtempSync(join(tmpdir(), 'baileys-'))

function once (emitter, name) {
  return new Promise(resolve => emitter.once(name, (...args) => resolve(args)))
}

async function admin (path, body) {
  const options = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const response = await fetch(`http://${base}/admin/${path}`, options)
  const answer = await response.json()
  if (!response.ok) throw new Error(`${path}: ${answer.error}`)
  return answer
}

async function until (what, check) {
  const deadline = Date.now() + 20_000
  while (Date.now() < deadline) {
    const found = await check()
    if (found) return found
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  throw new Error(`waited 20 s for ${what}`)
}

async function step (what, check) {
  const found = await until(what, check)
  console.log(`ok: ${what}`)
  return found
}

class Companion {
  messages = []
  states = []
  closed = []

  static async link (number) {
    const companion = new Companion()
    const auth = await useMultiFileAuthState(join(folder, number))
    await new Promise((resolve, reject) => companion.connect(number, auth, resolve, reject))
    return companion
  }

  connect (number, auth, resolve, reject) {
    const socket = makeWASocket({
      auth: auth.state,
      logger: pino({ level: 'silent' }),
      waWebSocketUrl: `ws://${base}/ws/chat`,
      version: [2, 3000, 1042742319],
      // What every user of Baileys has to give it for resends.
      getMessage: async key => this.messages.find(m => m.key.id === key.id)?.message
    })
    this.socket = socket
    socket.ev.on('creds.update', auth.saveCreds)
    socket.ev.on('messages.upsert', ({ messages }) => this.messages.push(...messages))
    socket.ev.on('messages.update', updates => this.states.push(...updates))
    socket.ev.on('connection.update', async update => {
      if (update.qr && !this.scanned) {
        this.scanned = true
        admin('scan', { number, qr: update.qr }).catch(reject)
      }
      if (update.connection === 'open') resolve()
      if (update.connection === 'close') {
        const code = update.lastDisconnect?.error?.output?.statusCode
        this.closed.push(code)
        if (code === DisconnectReason.restartRequired) this.connect(number, auth, resolve, reject)
      }
    })
  }

  find (text) {
    return this.messages.find(({ message }) =>
      (message?.conversation ?? message?.extendedTextMessage?.text) === text)
  }

  // The state of an own message: in an update, or merged into the message when
  // Baileys had both in its buffer.
  state (id) {
    const merged = this.messages.filter(m => m.key.id === id).map(m => m.status ?? 0)
    const updated = this.states.filter(s => s.key.id === id).map(s => s.update.status ?? 0)
    return Math.max(0, ...merged, ...updated)
  }
}

const shown = async (number, id) => (await admin(`inbox/${number}`)).find(item => item.id === id)

try {
  await admin('accounts', { number: ALICE, push_name: 'Alice', addressing })
  await admin('accounts', { number: BOB, push_name: 'Bob', addressing })
  const alice = await Companion.link(ALICE)
  console.log('ok: linked by QR')

  await admin('send', { from: BOB, to: ALICE, text: 'phone to companion' })
  const first = await step('a phone writes to a companion', () => alice.find('phone to companion'))
  if (first.pushName !== 'Bob') throw new Error(`push name ${first.pushName}`)
  await admin('send', { from: ALICE, to: BOB, text: 'own phone' })
  const own = await step('the own phone is seen', () => alice.find('own phone'))
  if (!own.key.fromMe) throw new Error('not from me')

  const sent = await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'to phones' })
  await step('a companion writes to a phone', () => shown(BOB, sent.key.id))
  const copy = await step('and its own phone has a copy', () => shown(ALICE, sent.key.id))
  if (!copy.from_me) throw new Error('the copy is not from me')
  await step('delivery receipt', () => alice.state(sent.key.id) >= DELIVERED)
  await admin('read', { number: BOB, chat: ALICE, ids: [sent.key.id] })
  await step('read receipt', () => alice.state(sent.key.id) >= READ)

  const bob = await Companion.link(BOB)
  await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'to companions' })
  await step('a companion writes to a companion', () => bob.find('to companions'))
  await bob.socket.sendMessage(`${ALICE}@s.whatsapp.net`, { text: 'and back' })
  const back = await step('and back', () => alice.find('and back'))
  await alice.socket.readMessages([back.key])
  await step('a companion reads', async () => (await admin(`receipts/${BOB}`))
    .find(r => r.kind === 'read' && r.ids.includes(back.key.id)))

  await admin('fault', { number: ALICE, kind: 'corrupt', count: 1 })
  await admin('send', { from: BOB, to: ALICE, text: 'fragile' })
  await step('a broken message comes again', () => alice.find('fragile'))
  await admin('fault', { number: BOB, kind: 'corrupt_to_phone', count: 1 })
  const retried = await alice.socket.sendMessage(`${BOB}@s.whatsapp.net`, { text: 'fragile too' })
  await step('and to a phone', () => shown(BOB, retried.key.id))

  await admin('unlink', { number: BOB, device: 1 })
  await step('unlinked', () => bob.closed.includes(DisconnectReason.loggedOut))
  const unknown = await admin('unknown')
  if (unknown.length > 0) throw new Error(`not understood: ${unknown.join('\n')}`)
  console.log('ok: every stanza was understood')
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  sim.kill('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
  process.exit()
}
