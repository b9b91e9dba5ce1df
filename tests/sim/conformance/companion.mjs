// A linked device played by Baileys. Two things are set that a user of the real
// network would not set: the WebSocket's address, and for downloads a connector
// that takes the one host Baileys knows by heart to the simulator.
import { join } from 'node:path'
import makeWASocket, { DisconnectReason, useMultiFileAuthState } from 'baileys'
import pino from 'pino'
import { Agent, buildConnector } from 'undici'

const VERSION = [2, 3000, 1042742319]
const LEVEL = process.env.BAILEYS_LOG ?? 'silent'

function toSimulator (address) {
  const [hostname, port] = address.split(':')
  const connect = buildConnector({})
  return new Agent({
    connect: (options, done) => connect({ ...options, hostname, port, servername: options.hostname }, done)
  })
}

// For scripts of other folders, which cannot name the package.
export * as baileys from 'baileys'

export class Companion {
  messages = []
  updates = []
  reactions = []
  presences = []
  chats = []
  contacts = []
  history = []
  closed = []
  opened = 0
  options = {}

  constructor (sim, folder, number) {
    this.sim = sim
    this.number = number
    this.folder = join(folder, number)
  }

  /** Links by QR; the phone of `number` scans it. `options` are Baileys' own. */
  static async byQr (sim, folder, number, options = {}) {
    const companion = new Companion(sim, folder, number)
    companion.options = options
    await companion.start(async ({ qr }) => {
      if (!qr || companion.scanned) return
      companion.scanned = true
      await sim.admin('scan', { number, qr })
    })
    return companion
  }

  /** Links by the 8-letter code, typed into the phone of `number`. */
  static async byCode (sim, folder, number) {
    const companion = new Companion(sim, folder, number)
    await companion.start(async ({ qr }) => {
      if (!qr || companion.scanned) return
      companion.scanned = true
      const code = await companion.socket.requestPairingCode(number)
      for (let tries = 0; ; tries += 1) {
        try {
          return await sim.admin('pair-code', { number, code })
        } catch (error) {
          // The request is on its way while Baileys has its code already.
          if (tries > 100 || !`${error}`.includes('asks')) throw error
          await new Promise(resolve => setTimeout(resolve, 25))
        }
      }
    })
    return companion
  }

  async start (onUpdate = async () => {}) {
    this.auth = await useMultiFileAuthState(this.folder)
    await new Promise((resolve, reject) => this.connect(onUpdate, resolve, reject))
  }

  connect (onUpdate, resolve, reject) {
    const { state, saveCreds } = this.auth
    const socket = makeWASocket({
      auth: state,
      logger: pino({ level: LEVEL }),
      waWebSocketUrl: `wss://${this.sim.address}/ws/chat`,
      version: VERSION,
      options: { dispatcher: toSimulator(this.sim.address) },
      // What every user of Baileys has to give it for resends.
      getMessage: async key => this.messages.find(m => m.key.id === key.id)?.message,
      ...this.options
    })
    this.socket = socket
    socket.ev.on('creds.update', saveCreds)
    socket.ev.on('messages.upsert', ({ messages }) => this.messages.push(...messages))
    socket.ev.on('messages.update', updates => this.updates.push(...updates))
    socket.ev.on('messages.reaction', reactions => this.reactions.push(...reactions))
    socket.ev.on('presence.update', update => this.presences.push(update))
    socket.ev.on('chats.update', chats => this.chats.push(...chats))
    socket.ev.on('chats.upsert', chats => this.chats.push(...chats))
    socket.ev.on('contacts.upsert', contacts => this.contacts.push(...contacts))
    socket.ev.on('contacts.update', contacts => this.contacts.push(...contacts))
    socket.ev.on('messaging-history.set', history => this.history.push(history))
    socket.ev.on('connection.update', update => {
      Promise.resolve(onUpdate(update)).catch(reject)
      if (update.connection === 'open') {
        this.opened += 1
        resolve()
      }
      if (update.connection === 'close') {
        const code = update.lastDisconnect?.error?.output?.statusCode
        this.closed.push(code)
        // Its users restart the socket; only a device that is out stays out.
        if (code !== DisconnectReason.loggedOut && !this.ended) this.connect(onUpdate, resolve, reject)
      }
    })
  }

  end () {
    this.ended = true
    this.socket.end(undefined)
  }

  text (text) {
    return this.messages.find(({ message }) =>
      (message?.conversation ?? message?.extendedTextMessage?.text) === text)
  }

  /** The first message whose content has `key`, from `from` on. */
  kind (key) {
    return this.messages.find(({ message, key: { fromMe } }) => !fromMe && message?.[key])
  }

  // The state of an own message: in an update, or merged into the message when
  // Baileys had both in its buffer.
  state (id) {
    const merged = this.messages.filter(m => m.key.id === id).map(m => m.status ?? 0)
    const updated = this.updates.filter(s => s.key.id === id).map(s => s.update.status ?? 0)
    return Math.max(0, ...merged, ...updated)
  }
}
