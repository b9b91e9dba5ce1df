//! A client as thin as can be: handshake, stanzas, nothing decrypted.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use buffa::{Message as _, MessageField};
use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use wacore_binary::{
    Jid, Node, NodeContent, Server, builder::NodeBuilder, consts::WA_CONN_HEADER, marshal, marshal::unmarshal_ref,
    util::unpack,
};
use wacore_libsignal::protocol::{IdentityKeyPair, KeyPair};
use wacore_noise::{
    NoiseCipher, XxHandshakeState,
    framing::{FrameDecoder, encode_frame},
};
use waproto::whatsapp::{ClientPayload, client_payload::DevicePairingRegistrationData};
use whatsapp_sim::Simulator;

/// How long a companion may take to be linked.
const LINK_TIME: Duration = Duration::from_secs(60);

/// A connection after its handshake.
pub struct Wire {
    socket: WebSocketStream<TcpStream>,
    decoder: FrameDecoder,
    send: (NoiseCipher, u32),
    receive: (NoiseCipher, u32),
}

fn server() -> Jid {
    Jid::new("", Server::Pn)
}

impl Wire {
    async fn connect(sim: &Simulator, keys: &KeyPair, payload: &ClientPayload) -> Result<Self> {
        let stream = TcpStream::connect(sim.addr()).await?;
        // Receipts are small and many: none may wait for another's.
        stream.set_nodelay(true)?;
        let (mut socket, _) = ClientBuilder::new().uri(&sim.ws_url())?.connect_on(stream).await?;
        let mut decoder = FrameDecoder::new();
        let mut state = XxHandshakeState::new(keys.clone(), payload.encode_to_vec(), &WA_CONN_HEADER)?;
        let hello = encode_frame(&state.build_client_hello()?, Some(&WA_CONN_HEADER))?;
        socket.send(Message::binary(hello)).await?;
        let answer = next_frame(&mut socket, &mut decoder).await?;
        let finish = state.read_server_hello_and_build_client_finish(&answer)?;
        socket.send(Message::binary(encode_frame(&finish, None)?)).await?;
        let done = state.finish()?;
        Ok(Self { socket, decoder, send: (done.write_cipher, 0), receive: (done.read_cipher, 0) })
    }

    /// Sends a stanza.
    pub async fn send(&mut self, node: &Node) -> Result<()> {
        let sealed = self.send.0.encrypt_with_counter(self.send.1, &marshal(node)?)?;
        self.send.1 += 1;
        self.socket.send(Message::binary(encode_frame(&sealed, None)?)).await?;
        Ok(())
    }

    /// The next stanza.
    pub async fn next(&mut self) -> Result<Node> {
        let mut frame = next_frame(&mut self.socket, &mut self.decoder).await?;
        self.receive.0.decrypt_in_place_with_counter(self.receive.1, &mut frame)?;
        self.receive.1 += 1;
        Ok(unmarshal_ref(&unpack(&frame)?)?.to_owned())
    }

    /// Links a companion to `number`, logs it in and waits for its backlog. Errors when that takes too long.
    pub async fn link(sim: &Simulator, number: &str) -> Result<(Self, u16)> {
        let linked = tokio::time::timeout(LINK_TIME, Self::link_slowly(sim, number)).await;
        linked.with_context(|| format!("waited {LINK_TIME:?} for a companion of {number} to be linked"))?
    }

    async fn link_slowly(sim: &Simulator, number: &str) -> Result<(Self, u16)> {
        let mut rng = rand::rng();
        let (noise, identity) = (KeyPair::generate(&mut rng), IdentityKeyPair::generate(&mut rng));
        let mut wire = Self::connect(sim, &noise, &registration(&identity)?).await?;
        let offer = wire.next().await?;
        let reference = offer.get_optional_child("pair-device").and_then(|p| p.get_optional_child("ref"));
        let Some(Some(NodeContent::Bytes(reference))) = reference.map(|r| &r.content) else {
            bail!("no ref");
        };
        let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let qr = [
            String::from_utf8(reference.clone())?,
            encode(noise.public_key.public_key_bytes()),
            encode(identity.public_key().public_key_bytes()),
            encode(&[7; 32]),
        ]
        .join(",");
        let scan = tokio::spawn({
            let (sim, number) = (sim.clone(), number.to_owned());
            async move { sim.scan(&number, &qr).await }
        });
        let success = wire.next().await?;
        ensure!(success.get_optional_child("pair-success").is_some(), "not paired");
        let id = success.attrs.get("id").context("no id")?.as_str().into_owned();
        let proof = NodeBuilder::new("device-identity").attr("key-index", 1u16).bytes(vec![0]).build();
        let signed = NodeBuilder::new("pair-device-sign").children([proof]).build();
        wire.send(
            &NodeBuilder::new("iq")
                .attr("to", server())
                .attr("type", "result")
                .attr("id", id)
                .children([signed])
                .build(),
        )
        .await?;
        let device = scan.await??;
        let login =
            ClientPayload { username: Some(number.parse()?), device: Some(device.into()), ..Default::default() };
        let mut wire = Self::connect(sim, &noise, &login).await?;
        let active = NodeBuilder::new("active").build();
        let passive = NodeBuilder::new("iq").attr("xmlns", "passive").attr("type", "set").attr("to", server());
        wire.send(&passive.attr("id", "1").children([active]).build()).await?;
        loop {
            let node = wire.next().await?;
            if node.tag != "ib" {
                continue;
            }
            if node.get_optional_child("offline_preview").is_some() {
                // What the phone has to tell a new companion waits until it asks.
                let more = NodeBuilder::new("offline_batch").attr("count", "1000").build();
                wire.send(&NodeBuilder::new("ib").children([more]).build()).await?;
            } else if node.get_optional_child("offline").is_some() {
                return Ok((wire, device));
            }
        }
    }
}

async fn next_frame(socket: &mut WebSocketStream<TcpStream>, decoder: &mut FrameDecoder) -> Result<BytesMut> {
    loop {
        if let Some(frame) = decoder.decode_frame() {
            return Ok(frame);
        }
        let message = socket.next().await.context("the socket ended")??;
        decoder.feed(&message.into_payload());
    }
}

fn registration(identity: &IdentityKeyPair) -> Result<ClientPayload> {
    let mut rng = rand::rng();
    let signed = KeyPair::generate(&mut rng);
    let signature = identity.private_key().calculate_signature(&signed.public_key.serialize(), &mut rng)?;
    let data = DevicePairingRegistrationData {
        e_regid: Some(1u32.to_be_bytes().to_vec()),
        e_keytype: Some(vec![5]),
        e_ident: Some(identity.public_key().public_key_bytes().to_vec()),
        e_skey_id: Some(vec![0, 0, 1]),
        e_skey_val: Some(signed.public_key.public_key_bytes().to_vec()),
        e_skey_sig: Some(signature.to_vec()),
        ..Default::default()
    };
    Ok(ClientPayload { device_pairing_data: MessageField::some(data), ..Default::default() })
}
