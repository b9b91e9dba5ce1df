// A browser on WhatsApp's site whose owner has a passkey, as far as the script needs one: it is pasted into the console (standard
// input), its button is pressed twice, and what lands in the clipboard is printed.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';

const bytes = (buffer) => Uint8Array.from(buffer).buffer;
const pressed = [];
let copied = '';

const navigator = {
  credentials: {
    async get({ publicKey }) {
      if (!ArrayBuffer.isView(publicKey.challenge) && !(publicKey.challenge instanceof ArrayBuffer)) throw new Error('the challenge is no bytes');
      if (publicKey.userVerification !== 'required' || !Array.isArray(publicKey.allowCredentials)) throw new Error('options are lost');
      const challenge = Buffer.from(publicKey.challenge).toString('base64url');
      const clientData = JSON.stringify({ type: 'webauthn.get', challenge, origin: 'https://web.whatsapp.com', crossOrigin: false });
      const site = createHash('sha256').update(publicKey.rpId).digest();
      return {
        id: Buffer.from('a passkey of a story').toString('base64url'),
        rawId: bytes(Buffer.from('a passkey of a story')),
        type: 'public-key',
        response: {
          clientDataJSON: bytes(Buffer.from(clientData)),
          authenticatorData: bytes(Buffer.concat([site, Buffer.from([5, 0, 0, 0, 1])])),
          signature: bytes(randomBytes(71)),
          userHandle: bytes(randomBytes(16)),
        },
      };
    },
  },
  clipboard: { async writeText(text) { copied = text; } },
};
const button = { style: {}, remove() {} };
const document = { createElement: () => button, body: { append: (it) => pressed.push(it) } };
const console = { log() {} };

runInNewContext(readFileSync(0, 'utf8'), { navigator, document, console, atob, btoa, Uint8Array });
if (pressed[0] !== button) throw new Error('there is no button');
await button.onclick();
await button.onclick();
process.stdout.write(copied);
