//! Calls on their way into the inbox.
//!
//! The library acknowledges them by itself, so what happens in the moment of a kill is lost; all else is kept like a
//! message. Calls of groups are told where the group is, once for all logins in it.

use super::intake::{Batch, Intake, is_bridged};
use super::line::Line;
use crate::convert::arrival::{About, WaArrival};
use crate::ids::{ChatId, GhostId, Lane, LoginId, PortalId, WaMessageId};
use crate::store::Result;
use crate::store::inbox::{Arrival, Source};
use serde::{Deserialize, Serialize};
use std::sync::PoisonError;
use std::time::Duration;
use whatsapp_rust::prelude::{Event, Jid, wa};
use whatsapp_rust::wacore::types::call::CallAction;

/// Inbox kind of news of a call: the body is a [`CallRow`].
pub const CALL: &str = "wa.call";

/// Calls of groups whose group is remembered.
const MANY_CALLS: usize = 1_000;
/// Pauses before the next tries to store what was heard of a call: nothing brings it again.
const TRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(2), Duration::from_secs(10)];

/// What was heard of a call, as the inbox keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallRow {
    /// The caller, the call's id in place of a message's, and when it was heard.
    pub arrival: WaArrival,
    /// What was heard.
    pub news: CallNews,
}

/// What can be heard of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CallNews {
    /// It rings.
    Offered {
        /// With pictures.
        video: bool,
        /// Of more than two.
        group: bool,
    },
    /// It rang while the login was not connected.
    MissedWhileAway,
    /// Who was called has answered.
    Answered,
    /// Who was called has refused.
    Rejected,
    /// Nothing more was heard of it for so long that it must be over.
    NeverHeardOf,
    /// It is over for this device.
    Ended {
        /// WhatsApp's word for why; none when somebody hung up.
        reason: Option<String>,
        /// How long it was, seconds, when told.
        seconds: Option<u64>,
    },
}

impl CallNews {
    /// What tells it from other news of the same call.
    pub fn name(&self) -> String {
        match self {
            Self::Offered { .. } => "call-offered".into(),
            Self::MissedWhileAway => "call-missed".into(),
            Self::NeverHeardOf => "call-unheard".into(),
            Self::Answered => "call-answered".into(),
            Self::Rejected => "call-rejected".into(),
            Self::Ended { reason, .. } => format!("call-ended-{}", reason.as_deref().unwrap_or_default()),
        }
    }
}

/// News of a call with those it is about.
pub struct HeardCall {
    /// The call.
    pub call_id: String,
    /// Who called, and their other id when told.
    pub creator: (Jid, Option<Jid>),
    /// Who tells.
    pub from: Jid,
    /// When, milliseconds since 1970.
    pub ts_ms: i64,
    /// The name who tells has given themselves.
    pub push_name: String,
    /// The group that is called, which only the ring names.
    pub group: Option<Jid>,
    /// What.
    pub news: CallNews,
}

/// The news in an event; none in what is no business of a person's.
pub fn heard(event: &Event) -> Option<HeardCall> {
    if let Event::MissedCall(missed) = event {
        return Some(HeardCall {
            call_id: missed.call_id.clone(),
            creator: (missed.from.clone(), None),
            from: missed.from.clone(),
            ts_ms: missed.timestamp.timestamp_millis(),
            push_name: String::new(),
            group: None,
            news: CallNews::MissedWhileAway,
        });
    }
    let Event::IncomingCall(call) = event else { return None };
    let (mut other, mut group) = (None, None);
    let news = match &call.action {
        CallAction::Offer { group_jid, is_video, caller_pn, .. } => {
            other.clone_from(caller_pn);
            group.clone_from(group_jid);
            CallNews::Offered { video: *is_video, group: group_jid.is_some() }
        }
        CallAction::Accept { .. } => CallNews::Answered,
        // A device that is busy is not a person who declines.
        CallAction::Reject { reason, .. } if reason.as_deref() != Some("busy") => CallNews::Rejected,
        CallAction::Terminate { reason, duration, .. } => CallNews::Ended {
            reason: reason.as_deref().map(|reason| reason.chars().take(40).collect()),
            seconds: duration.map(u64::from),
        },
        _ => return None,
    };
    Some(HeardCall {
        call_id: call.action.call_id().to_owned(),
        creator: (call.action.call_creator().clone(), other),
        from: call.from.clone(),
        ts_ms: call.timestamp.timestamp_millis(),
        push_name: call.notify.clone().unwrap_or_default(),
        group,
        news,
    })
}

impl Line {
    /// Stores news of a call; tried for some seconds where the database does not answer.
    pub(super) async fn store_call(&self, event: &Event, intake: &Intake) {
        let Some(heard) = heard(event) else { return };
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            match intake.store_call(&heard).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(login = %self.masked(), %error, "news of a call were not stored yet"),
            }
        }
        tracing::error!(login = %self.masked(), "news of a call could not be stored");
    }
}

impl Intake {
    /// Stores news of a call.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn store_call(&self, heard: &HeardCall) -> Result<()> {
        let Some(login) = self.login.borrow().clone() else { return Ok(()) };
        let mut batch = self.begin("intake.call").await?;
        let (creator, other) = &heard.creator;
        let caller = self.canonical(&mut batch, creator, other.as_ref()).await?;
        let from = self.canonical(&mut batch, &heard.from, None).await?;
        let own = self.store.find_login_in(&mut batch.tx, &login).await?.map(|login| login.own);
        let from_me = own.as_ref() == Some(&caller);
        // Others' calls ring by their caller alone, and only who takes part has news of them.
        let rings = matches!(heard.news, CallNews::Offered { .. } | CallNews::MissedWhileAway);
        let may_tell = from_me || from == caller || !rings && own.as_ref() == Some(&from);
        if !may_tell {
            tracing::debug!("news of a call by somebody who has no part in it are dropped");
            return self.commit(batch).await;
        }
        let is_told_by_caller = from == caller;
        let group = self.group_of_call(&mut batch, &login, heard, &caller).await?;
        let peer = if from_me { from } else { caller.clone() };
        if own.as_ref() == Some(&peer) || !peer.as_str().parse().is_ok_and(|peer: Jid| is_bridged(&peer)) {
            return self.commit(batch).await;
        }
        let (portal, chat) = match group {
            Some(group) => group,
            None => {
                let chat = ChatId::new(peer.as_str());
                (self.portal_of(&mut batch, &login, &chat, &caller).await?, chat)
            }
        };
        let about = About {
            sender: caller.as_str().into(),
            id: heard.call_id.clone(),
            ts_ms: heard.ts_ms,
            from_me,
            // Who tells may be another than who calls.
            push_name: if is_told_by_caller { heard.push_name.clone() } else { String::new() },
            business_name: None,
        };
        let row = CallRow { arrival: WaArrival::new(&wa::Message::default(), about), news: heard.news.clone() };
        let id = WaMessageId::new(heard.call_id.as_str());
        let arrival = Arrival {
            dedup: self.store.derive().wa_dedup(&login, &chat, &caller, &id, &heard.news.name()),
            lane: Lane::into_matrix(portal),
            source: Source::Whatsapp,
            login: Some(login),
            portal: Some(portal),
            kind: CALL,
            body: serde_json::to_vec(&row).unwrap_or_default(),
            seq: None,
        };
        let new = self.store.put_arrival(&mut batch.tx, &arrival).await?;
        self.commit(batch).await?;
        if new {
            self.store.bell().ring(arrival.lane);
        }
        Ok(())
    }

    /// The group of a call. The ring names it, by the caller's word: it counts where both are in it, and is remembered
    /// until the row is worked on. Anything else is told in the chat with who calls.
    async fn group_of_call(
        &self,
        batch: &mut Batch,
        login: &LoginId,
        heard: &HeardCall,
        caller: &GhostId,
    ) -> Result<Option<(PortalId, ChatId)>> {
        let mut ringing = self.ringing.lock().unwrap_or_else(PoisonError::into_inner).get(&heard.call_id).cloned();
        if let Some(group) = &heard.group {
            ringing = Some(ChatId::new(group.to_non_ad().to_string()));
            let mut all = self.ringing.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MANY_CALLS {
                all.clear();
            }
            all.extend(ringing.clone().map(|group| (heard.call_id.clone(), group)));
        }
        match ringing {
            Some(group) => self.store.find_called_group_in(&mut batch.tx, &group, login, caller).await,
            None => self.store.find_group_of_call_in(&mut batch.tx, &heard.call_id, login, caller).await,
        }
    }
}
