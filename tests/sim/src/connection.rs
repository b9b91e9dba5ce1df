//! One WebSocket: header, handshake, frames, ciphers.

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use axum::extract::ws::{Message, WebSocket};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink, stream::SplitStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use wacore_binary::{consts::WA_CONN_HEADER, marshal, marshal::unmarshal_ref, util::unpack};
use wacore_noise::{
    NoiseCipher,
    framing::{FrameDecoder, append_frame_into, encode_frame},
};

use crate::{
    dispatch, login,
    noise::{Answer, Secured},
    simulator::Shared,
    state::Outgoing,
};

/// How long a client gets for its handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(20);
/// Pause between the handshake and the first stanza: some clients derive their
/// transport keys later than they send their last handshake frame, and fail on
/// a stanza that is faster than any real network.
const FIRST_STANZA_PAUSE: Duration = Duration::from_millis(30);
/// How long a client gets to close its side of a socket that was closed.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// Most stanzas joined into one WebSocket message.
const WRITE_BATCH: usize = 64;

/// Serves one socket until it ends.
pub async fn serve(shared: Arc<Shared>, socket: WebSocket) {
    if let Err(error) = run(&shared, socket).await {
        tracing::debug!("connection ended: {error:#}");
    }
}

async fn run(shared: &Arc<Shared>, socket: WebSocket) -> Result<()> {
    let (mut sink, stream) = socket.split();
    let mut frames = Frames::new(stream);
    let secured = tokio::time::timeout(HANDSHAKE_TIME, handshake(shared, &mut sink, &mut frames))
        .await
        .context("handshake took too long")??;
    let Secured { send, receive, client_static, payload, kind } = secured;
    let (out, outgoing) = unbounded_channel();
    let conn = shared.with(|state| {
        let conn = login::open(state, out, client_static, &payload);
        state.handshakes.push((conn, kind));
        conn
    });
    let mut writer = tokio::spawn(write(sink, send, outgoing));
    let result = {
        let mut reading = pin!(read(shared, conn, frames, receive));
        tokio::select! {
            result = &mut reading => result,
            ended = &mut writer => match ended.context("writer task")? {
                // A socket dropped with bytes unread takes the last stanzas
                // sent with it: give the client time to close its side.
                Ok(Ended::Closed) => tokio::time::timeout(CLOSING_TIME, reading)
                    .await
                    .unwrap_or(Ok(())),
                Ok(Ended::Aborted) => Ok(()),
                Err(error) => Err(error),
            },
        }
    };
    shared.with(|state| state.connection_lost(conn));
    result
}

async fn handshake(
    shared: &Arc<Shared>,
    sink: &mut SplitSink<WebSocket, Message>,
    frames: &mut Frames,
) -> Result<Secured> {
    frames.read_header().await?;
    let hello = frames.next().await?.context("no client hello")?;
    let (keys, ik) = shared.with(|state| (state.keys.clone(), state.ik));
    match keys.answer(&hello, ik)? {
        Answer::Done(reply, secured) => {
            sink.send(frame(&reply)?).await?;
            Ok(*secured)
        }
        Answer::Continue(reply, rest) => {
            sink.send(frame(&reply)?).await?;
            let last = frames.next().await?.context("no client finish")?;
            rest.finish(&last)
        }
    }
}

fn frame(payload: &[u8]) -> Result<Message> {
    Ok(Message::Binary(Bytes::from(encode_frame(payload, None)?)))
}

/// How a writer ended.
enum Ended {
    Closed,
    Aborted,
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    cipher: NoiseCipher,
    mut outgoing: UnboundedReceiver<Outgoing>,
) -> Result<Ended> {
    tokio::time::sleep(FIRST_STANZA_PAUSE).await;
    let mut counter = 0u32;
    let mut batch = Vec::new();
    while outgoing.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        let mut wire = Vec::new();
        let mut ended = None;
        for item in batch.drain(..) {
            match item {
                Outgoing::Stanza(node) if ended.is_none() => {
                    let sealed = cipher.encrypt_with_counter(counter, &marshal(&node)?)?;
                    counter += 1;
                    append_frame_into(&sealed, None, &mut wire)?;
                }
                Outgoing::Stanza(_) => {}
                Outgoing::Pause(pause) => {
                    if !wire.is_empty() {
                        sink.send(Message::Binary(Bytes::from(std::mem::take(&mut wire)))).await?;
                    }
                    tokio::time::sleep(pause).await;
                }
                Outgoing::Close => ended = ended.or(Some(Ended::Closed)),
                Outgoing::Abort => ended = ended.or(Some(Ended::Aborted)),
            }
        }
        if !wire.is_empty() {
            sink.send(Message::Binary(Bytes::from(wire))).await?;
        }
        match ended {
            None => {}
            Some(Ended::Aborted) => return Ok(Ended::Aborted),
            Some(Ended::Closed) => break,
        }
    }
    sink.close().await?;
    Ok(Ended::Closed)
}

async fn read(shared: &Arc<Shared>, conn: crate::ids::ConnId, mut frames: Frames, cipher: NoiseCipher) -> Result<()> {
    let mut counter = 0u32;
    while let Some(mut frame) = frames.next().await? {
        cipher.decrypt_in_place_with_counter(counter, &mut frame)?;
        counter += 1;
        let plain = unpack(&frame)?;
        let node = unmarshal_ref(&plain)?.to_owned();
        shared.with(|state| dispatch::handle(state, conn, &node));
    }
    Ok(())
}

/// The client's bytes, cut into frames: WebSocket message borders mean nothing.
struct Frames {
    stream: SplitStream<WebSocket>,
    decoder: FrameDecoder,
}

impl Frames {
    fn new(stream: SplitStream<WebSocket>) -> Self {
        Self { stream, decoder: FrameDecoder::new() }
    }

    /// Reads `[ED 0 1 len routing] WA 6 3`; the rest is kept for the frames.
    async fn read_header(&mut self) -> Result<()> {
        let mut buffer = BytesMut::new();
        let mut start = 0;
        loop {
            if start == 0 && buffer.len() >= 7 && buffer.starts_with(b"ED") {
                let len = usize::from(buffer[4]) << 16 | usize::from(buffer[5]) << 8 | usize::from(buffer[6]);
                start = 7 + len;
            }
            let plain = buffer.len() >= 2 && !buffer.starts_with(b"ED");
            if (plain || start > 0) && buffer.len() >= start + WA_CONN_HEADER.len() {
                let rest = buffer.split_off(start + WA_CONN_HEADER.len());
                let header = &buffer[start..];
                // The last byte is the token dictionary's version: another one
                // would be read as other words.
                ensure!(header == WA_CONN_HEADER, "connection header {header:02x?}, expected {WA_CONN_HEADER:02x?}");
                self.decoder.feed(&rest);
                return Ok(());
            }
            match self.receive().await? {
                Some(data) => buffer.extend_from_slice(&data),
                None => bail!("closed before the connection header"),
            }
        }
    }

    /// The next frame; nothing when the socket has ended.
    async fn next(&mut self) -> Result<Option<BytesMut>> {
        loop {
            if let Some(frame) = self.decoder.decode_frame() {
                return Ok(Some(frame));
            }
            match self.receive().await? {
                Some(data) => self.decoder.feed(&data),
                None => return Ok(None),
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        while let Some(message) = self.stream.next().await {
            match message? {
                Message::Binary(data) => return Ok(Some(data)),
                Message::Close(_) => return Ok(None),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Text(_) => bail!("text message on the binary socket"),
            }
        }
        Ok(None)
    }
}
