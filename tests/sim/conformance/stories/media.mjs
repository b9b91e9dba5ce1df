// Files: sent and fetched, both ways, as image and as voice note.
import { createHash, randomBytes } from 'node:crypto'
import { downloadMediaMessage } from 'baileys'
import { item, same, until } from '../report.mjs'

const sha256 = content => createHash('sha256').update(content).digest('hex')

export async function media ({ alice, numbers: { CAROL } }) {
  const carol = `${CAROL}@s.whatsapp.net`
  const image = randomBytes(70_000)
  await item('an image to whatsapp-rust', async () => {
    await alice.socket.sendMessage(carol, { image, caption: 'a picture', jpegThumbnail: '' })
    await until('its hash', () => alice.text(`saw image ${sha256(image)} a picture`))
  })
  const voice = randomBytes(9_001)
  await item('a voice note to whatsapp-rust', async () => {
    const waveform = new Uint8Array(64)
    await alice.socket.sendMessage(carol, { audio: voice, ptt: true, seconds: 2, waveform })
    await until('its hash', () => alice.text(`saw voice ${sha256(voice)}`))
  })
  await item('an image from whatsapp-rust', () => fetched(alice, carol, 'image', 'imageMessage'))
  await item('a voice note from whatsapp-rust', async () => {
    const message = await fetched(alice, carol, 'voice', 'audioMessage')
    same(message.message.audioMessage.ptt, true, 'ptt')
  })
}

async function fetched (alice, carol, word, key) {
  await alice.socket.sendMessage(carol, { text: word })
  const message = await until('the message', () => alice.kind(key))
  const content = await downloadMediaMessage(message, 'buffer', {})
  // The sender says what it should be.
  await until('the hash', () => alice.text(`sent ${word} ${sha256(content)}`))
  return message
}
