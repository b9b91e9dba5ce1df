//! Acting as the person who asks: turning it on by a token or by the homeserver's registration, off, and looking at it.

use super::{Call, database};
use crate::bridge::people::Halt;
use crate::bridge::puppets::PuppetState;
use crate::matrix::error::{MatrixError, Result};
use crate::matrix::puppets::PuppetToken;
use crate::store::puppets::PuppetMode;
use crate::verdict::{Gate, Verdict};
use ruma::{EventId, OwnedUserId, UserId};

/// Longest access token taken, bytes: those of MAS and of other servers are far below.
const LONGEST_TOKEN: usize = 4096;

fn caller(call: &Call) -> Result<OwnedUserId> {
    UserId::parse(call.sender.as_str()).map_err(|_| MatrixError::NotFound)
}

fn halted(halt: Halt) -> MatrixError {
    match halt {
        Halt::Store(error) => database(error),
        Halt::Verdict(Verdict::Blocked(Gate::Homeserver)) => {
            MatrixError::Unreachable { why: "it could not be asked".into() }
        }
        Halt::Verdict(Verdict::Away { why }) => MatrixError::PuppetAway { why },
        Halt::Verdict(_) => MatrixError::Refused { status: 500, errcode: String::new(), message: String::new() },
    }
}

pub(super) async fn login(call: &Call) -> Result<()> {
    let user = caller(call)?;
    let bridge = &call.bridge;
    let (token, mode) = match call.rest.as_slice() {
        [] => match bridge.shared_token(&user) {
            Some(token) => (token, PuppetMode::Shared),
            None => {
                let tell =
                    "I have no token for your homeserver. Say `login-matrix <access token>` with one of your own.";
                return call.answer(tell).await;
            }
        },
        [token] if token.len() <= LONGEST_TOKEN && token.chars().all(|c| c.is_ascii_graphic()) => {
            let people = bridge.matrix().joined_members(&call.room).await?;
            if people.iter().any(|person| *person != *bridge.matrix().bot() && *person != user) {
                let tell = "Others can read this room, and your token is worth your account. Log that session out now, and \
                            write to me alone.";
                return call.answer(tell).await;
            }
            let sealed = bridge.seal_token(&user, token).ok_or(MatrixError::TooLarge)?;
            (PuppetToken::Own(token.clone()), PuppetMode::Token(sealed))
        }
        _ => return call.answer("Say `login-matrix <access token>`, or `login-matrix` alone.").await,
    };
    let server = user.server_name().as_str();
    if server != bridge.matrix().settings().domain && bridge.config().puppet_address(server).is_none() {
        return call
            .answer("I don't know where your homeserver is. The bridge's administrator can add it to double_puppet.servers.")
            .await;
    }
    let is_own = matches!(token, PuppetToken::Own(_));
    let state = bridge.try_token(&user, &token).await.map_err(halted)?;
    if state == PuppetState::Ready {
        bridge.store().put_puppet(user.as_str(), &mode).await.map_err(database)?;
        bridge.store().ring_marks();
    }
    if is_own {
        hide_message(call, &user).await;
    }
    let text = match (state, is_own) {
        (PuppetState::Ready, _) => {
            "I act as you from now on: what you write on your phone comes from your own account. Say `logout-matrix` to end \
             that."
        }
        (PuppetState::NotTheirs, true) => "That is another user's token. Give me one of your own account.",
        (_, true) => {
            "Your homeserver does not take this token. Log in with a client that you keep, and give me its token."
        }
        (_, false) => {
            "Your homeserver does not let me act as you: the second registration is not loaded there. Ask the bridge's \
             administrator, or say `login-matrix <access token>` with a token of your own."
        }
    };
    call.answer(text).await
}

/// Takes a command away that held a secret: as its sender where that is possible by now, else as the bot.
pub(super) async fn hide_message(call: &Call, user: &UserId) {
    let Ok(event) = EventId::parse(call.event_id.as_str()) else { return };
    let matrix = call.bridge.matrix();
    let txn = call.bridge.store().derive().notice_txn(&call.event_id, "hide-token");
    for actor in [user, matrix.bot()] {
        if actor == user && !matrix.is_puppet(user) {
            continue;
        }
        match matrix.redact(&call.room, actor, &event, &txn, None).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "a message with a secret was not taken away"),
        }
    }
}

pub(super) async fn logout(call: &Call) -> Result<()> {
    let user = caller(call)?;
    call.bridge.store().put_puppet(user.as_str(), &PuppetMode::Off).await.map_err(database)?;
    call.bridge.matrix().drop_puppet(&user);
    call.answer(
        "I don't act as you any more: what you write on your phone comes from a ghost of yours. Say `login-matrix` to have it \
         back.",
    )
    .await
}

pub(super) async fn ping(call: &Call) -> Result<()> {
    let user = caller(call)?;
    // Not from memory: the token may have been logged out since it was used.
    call.bridge.matrix().drop_puppet(&user);
    let asked_only = !call.bridge.config().double_puppet.automatic;
    let text = match call.bridge.try_puppet(&user, asked_only).await.map_err(halted)? {
        PuppetState::Ready => "I act as you: your homeserver takes the token.",
        PuppetState::Off => "You have turned it off. Say `login-matrix` to let me act as you.",
        PuppetState::NoToken => "I don't act as you. Say `login-matrix`, or `login-matrix <access token>`.",
        PuppetState::Refused => {
            "Your homeserver refuses the token I have. Say `login-matrix <access token>` with a new one."
        }
        PuppetState::NotTheirs => {
            "The token I have may not act as you. Say `login-matrix <access token>` with one of yours."
        }
    };
    call.answer(text).await
}
