//! The responder of the Noise handshakes: XX, IK, and XXfallback.

use anyhow::{Context, Result, anyhow, bail};
use buffa::Message as _;
use wacore_binary::consts::{NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::{NoiseCipher, NoiseHandshake};
use waproto::whatsapp::{
    CertChain, ClientPayload, HandshakeMessage,
    cert_chain::{NoiseCertificate, noise_certificate},
    handshake_message::{ClientHello, ServerHello},
};

use crate::stanza::unix_now;

/// Which handshake a connection used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeKind {
    /// Full handshake: the client did not know the server's static key.
    Xx,
    /// Resumption with a known static key.
    Ik,
    /// The client tried IK and was sent back to XX.
    XxFallback,
}

/// Whether the server takes IK hellos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IkPolicy {
    /// Answer them.
    Accept,
    /// Send every client back to XX.
    Refuse,
}

/// The server's static key and its certificate chain.
#[derive(Clone)]
pub struct ServerKeys {
    pair: KeyPair,
    chain: Vec<u8>,
}

/// What a finished handshake leaves.
pub struct Secured {
    /// Server to client.
    pub send: NoiseCipher,
    /// Client to server.
    pub receive: NoiseCipher,
    /// The client's static key: its noise identity.
    pub client_static: [u8; 32],
    /// Who it says it is.
    pub payload: ClientPayload,
    /// How it got here.
    pub kind: HandshakeKind,
}

/// A handshake that waits for the client's last frame (XX only).
pub struct AwaitFinish {
    noise: NoiseHandshake,
    ephemeral: KeyPair,
    kind: HandshakeKind,
}

/// The answer to a client hello.
pub enum Answer {
    /// IK: done; send these bytes and start.
    Done(Vec<u8>, Box<Secured>),
    /// XX: send these bytes and pass the next frame to [`AwaitFinish::finish`].
    Continue(Vec<u8>, Box<AwaitFinish>),
}

impl ServerKeys {
    /// Makes a new static key with a chain `root -> intermediate -> leaf`. The
    /// root is not WhatsApp's, so only clients built to skip the signature
    /// check accept it; every other field rule holds.
    pub fn generate() -> Result<Self> {
        let mut rng = rand::rng();
        let pair = KeyPair::generate(&mut rng);
        let root = KeyPair::generate(&mut rng);
        let intermediate = KeyPair::generate(&mut rng);
        let (from, until) = (unix_now() - 86_400, unix_now() + 86_400 * 3650);
        let certify = |serial, issuer, key: &KeyPair, signer: &KeyPair| -> Result<_> {
            let details = noise_certificate::Details {
                serial: Some(serial),
                issuer_serial: Some(issuer),
                key: Some(key.public_key.public_key_bytes().to_vec()),
                not_before: Some(from),
                not_after: Some(until),
            }
            .encode_to_vec();
            let signature = signer.calculate_signature(&details, &mut rand::rng()).context("signing a certificate")?;
            Ok(NoiseCertificate { details: Some(details), signature: Some(signature.to_vec()) })
        };
        let chain = CertChain {
            leaf: buffa::MessageField::some(certify(2, 1, &pair, &intermediate)?),
            intermediate: buffa::MessageField::some(certify(1, 0, &intermediate, &root)?),
        }
        .encode_to_vec();
        Ok(Self { pair, chain })
    }

    /// Answers a client hello.
    pub fn answer(&self, hello: &[u8], ik: IkPolicy) -> Result<Answer> {
        let message = HandshakeMessage::decode_from_slice(hello).context("client hello")?;
        let hello = message.client_hello.into_option().ok_or_else(|| anyhow!("first frame without client hello"))?;
        let ephemeral = hello.ephemeral.clone().ok_or_else(|| anyhow!("client hello without ephemeral key"))?;
        if hello.r#static.is_none() {
            return self.answer_xx(&ephemeral, NOISE_PATTERN_XX, HandshakeKind::Xx);
        }
        if ik == IkPolicy::Accept
            && let Ok(done) = self.answer_ik(&hello, &ephemeral)
        {
            return Ok(done);
        }
        self.answer_xx(&ephemeral, NOISE_PATTERN_XXFALLBACK, HandshakeKind::XxFallback)
    }

    fn answer_xx(&self, client: &[u8], pattern: &str, kind: HandshakeKind) -> Result<Answer> {
        let mut noise = NoiseHandshake::new(pattern, &WA_CONN_HEADER)?;
        noise.authenticate(client);
        let ephemeral = KeyPair::generate(&mut rand::rng());
        noise.authenticate(ephemeral.public_key.public_key_bytes());
        noise.mix_shared_secret(ephemeral.private_key.serialize(), client)?;
        let encrypted_static = noise.encrypt(self.pair.public_key.public_key_bytes())?;
        noise.mix_shared_secret(self.pair.private_key.serialize(), client)?;
        let certificate = noise.encrypt(&self.chain)?;
        let hello = server_hello(&ephemeral, Some(encrypted_static), certificate);
        Ok(Answer::Continue(hello, Box::new(AwaitFinish { noise, ephemeral, kind })))
    }

    fn answer_ik(&self, hello: &ClientHello, client: &[u8]) -> Result<Answer> {
        let (Some(enc_static), Some(enc_payload)) = (&hello.r#static, &hello.payload) else {
            bail!("incomplete IK hello");
        };
        let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER)?;
        noise.authenticate(self.pair.public_key.public_key_bytes());
        noise.authenticate(client);
        noise.mix_shared_secret(self.pair.private_key.serialize(), client)?;
        let client_static = noise.decrypt(enc_static)?;
        noise.mix_shared_secret(self.pair.private_key.serialize(), &client_static)?;
        let payload = noise.decrypt(enc_payload)?;
        let ephemeral = KeyPair::generate(&mut rand::rng());
        noise.authenticate(ephemeral.public_key.public_key_bytes());
        noise.mix_shared_secret(ephemeral.private_key.serialize(), client)?;
        noise.mix_shared_secret(ephemeral.private_key.serialize(), &client_static)?;
        let certificate = noise.encrypt(&self.chain)?;
        let reply = server_hello(&ephemeral, None, certificate);
        let secured = finish(noise, &client_static, &payload, HandshakeKind::Ik)?;
        Ok(Answer::Done(reply, Box::new(secured)))
    }
}

impl AwaitFinish {
    /// Reads the client's last handshake frame.
    pub fn finish(mut self, frame: &[u8]) -> Result<Secured> {
        let message = HandshakeMessage::decode_from_slice(frame).context("client finish")?;
        let last = message.client_finish.into_option().ok_or_else(|| anyhow!("second frame without client finish"))?;
        let (Some(enc_static), Some(enc_payload)) = (last.r#static, last.payload) else {
            bail!("incomplete client finish");
        };
        let client_static = self.noise.decrypt(&enc_static)?;
        self.noise.mix_shared_secret(self.ephemeral.private_key.serialize(), &client_static)?;
        let payload = self.noise.decrypt(&enc_payload)?;
        finish(self.noise, &client_static, &payload, self.kind)
    }
}

fn server_hello(ephemeral: &KeyPair, enc_static: Option<Vec<u8>>, payload: Vec<u8>) -> Vec<u8> {
    HandshakeMessage {
        server_hello: buffa::MessageField::some(ServerHello {
            ephemeral: Some(ephemeral.public_key.public_key_bytes().to_vec()),
            r#static: enc_static,
            payload: Some(payload),
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}

fn finish(noise: NoiseHandshake, client_static: &[u8], payload: &[u8], kind: HandshakeKind) -> Result<Secured> {
    // `finish` names its two ciphers from the initiator's side; we answer.
    let (initiator_write, initiator_read) = noise.finish()?;
    Ok(Secured {
        send: initiator_read,
        receive: initiator_write,
        client_static: client_static.try_into().context("client static key")?,
        payload: ClientPayload::decode_from_slice(payload).context("client payload")?,
        kind,
    })
}
