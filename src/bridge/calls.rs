//! Calls: one notice each that follows the call's life.

use super::Bridge;
use super::effects::Scene;
use super::people::Halt;
use crate::convert::arrival::{About, WaArrival};
use crate::convert::edit;
use crate::convert::incoming::{CallFacts, CallState, call};
use crate::ids::{Lane, LoginId, PortalId, WaMessageId};
use crate::store::StoreError;
use crate::store::calls::{Call, CallStage};
use crate::store::inbox::{Arrival, InboxRow, Source};
use crate::verdict::Verdict;
use crate::whatsapp::calls::{CALL, CallNews, CallRow};
use whatsapp_rust::prelude::wa;

/// A call that rings for longer has ended unheard, milliseconds: WhatsApp's ring for a minute or two.
const LONGEST_RING: i64 = 10 * 60 * 1000;

impl Bridge {
    /// Shows what was heard of a call: a notice, or the new content of the one that stands.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn call_into_room(&self, row: &InboxRow, portal: PortalId, login: &LoginId) -> Result<(), Halt> {
        let CallRow { arrival, news } = serde_json::from_slice(&row.body).map_err(|_| {
            Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored call can not be read".into() })
        })?;
        let caller = self.canonical(&arrival.sender).await?;
        let before = self.store().find_call(portal, &arrival.id).await?;
        // Of several of ours in a group one may decline while it goes on ringing for the others.
        if is_declined(&news) && self.store().logins_in(portal).await?.len() > 1 {
            return Ok(self.store().settle_row(row.seq).await?);
        }
        let Some((stage, seconds)) = advance(before.as_ref(), &news, arrival.ts_ms) else {
            return Ok(self.store().settle_row(row.seq).await?);
        };
        let (video, group) = match (&before, &news) {
            (Some(before), _) => (before.video, before.group),
            (None, CallNews::Offered { video, group }) => (*video, *group),
            (None, _) => (false, false),
        };
        let now = Call {
            portal,
            call_id: arrival.id.clone(),
            caller: caller.clone(),
            video,
            group,
            stage,
            since: arrival.ts_ms,
            seconds,
        };
        let facts = CallFacts { video, group, outgoing: arrival.from_me, state: state_of(&now) };
        let part = call(facts);
        let scene = Scene { row, portal, login, arrival: &arrival, sender: &caller };
        let shown = match before {
            Some(_) => self.store().find_message(&scene.key(0)).await?,
            None => None,
        };
        match shown.as_ref().and_then(|shown| shown.event_id.as_deref().map(|event| (shown, event))) {
            Some((shown, event)) => {
                let known = self.ready_room(portal, login).await?;
                self.revise(&known, &scene, &shown.mx_sender, "call", &edit::replacement(&part.content, event)).await?;
            }
            None => {
                // Under no message's id: nothing of it is reported as read.
                self.say_unsettled(&scene, "notice", &[part], None).await?;
            }
        }
        fail::fail_point!("states.call", |_| super::states::die_here());
        let mut tx = self.store().begin("calls.settle").await?;
        self.store().put_call_in(&mut tx, &now).await?;
        self.store().settle_row_in(&mut tx, row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// Ends calls that ring for longer than any call does: the news of their end was lost by a kill.
    pub(super) async fn end_unheard_calls(&self) {
        let before = self.store().clock().now_ms() - LONGEST_RING;
        let ringing = match self.store().ringing_calls(before).await {
            Ok(ringing) => ringing,
            Err(error) => return tracing::warn!(%error, "calls that ring for too long were not looked for"),
        };
        for (call, login) in ringing {
            if let Err(error) = self.end_unheard_call(&call, &login).await {
                tracing::warn!(%error, "a call that rings for too long was not ended");
            }
        }
    }

    async fn end_unheard_call(&self, call: &Call, login: &LoginId) -> Result<(), StoreError> {
        let portal = self.store().load_portal(call.portal).await?;
        let id = WaMessageId::new(call.call_id.as_str());
        let about = About {
            sender: call.caller.as_str().into(),
            id: call.call_id.clone(),
            ts_ms: self.store().clock().now_ms(),
            from_me: false,
            push_name: String::new(),
            business_name: None,
        };
        let news = CallNews::NeverHeardOf;
        let arrival = Arrival {
            dedup: self.store().derive().wa_dedup(login, &portal.chat, &call.caller, &id, &news.name()),
            lane: Lane::into_matrix(call.portal),
            source: Source::Whatsapp,
            login: Some(login.clone()),
            portal: Some(call.portal),
            kind: CALL,
            body: serde_json::to_vec(&CallRow { arrival: WaArrival::new(&wa::Message::default(), about), news })
                .unwrap_or_default(),
            seq: None,
        };
        let mut tx = self.store().begin("calls.unheard").await?;
        self.store().put_arrival(&mut tx, &arrival).await?;
        tx.commit().await?;
        self.store().bell().ring(arrival.lane);
        Ok(())
    }
}

fn is_declined(news: &CallNews) -> bool {
    match news {
        CallNews::Rejected => true,
        CallNews::Ended { reason, .. } => reason.as_deref() == Some("rejected_elsewhere"),
        _ => false,
    }
}

/// How far a call is after some news, and how long it was; nothing when the news changes nothing. Reasons of an end: as
/// the web client reads them.
fn advance(before: Option<&Call>, news: &CallNews, ts_ms: i64) -> Option<(CallStage, Option<u64>)> {
    use CallStage::{Answered, Elsewhere, Ended, Missed, Rejected, Ringing};
    let Some(before) = before else {
        return match news {
            CallNews::Offered { .. } => Some((Ringing, None)),
            CallNews::MissedWhileAway => Some((Missed, None)),
            // Of a call that was never shown nothing is told.
            _ => None,
        };
    };
    let open = matches!(before.stage, Ringing | Missed);
    if *news == CallNews::NeverHeardOf {
        return (before.stage == Ringing).then_some((Ended, None));
    }
    match news {
        CallNews::Offered { .. } => None,
        CallNews::MissedWhileAway => (before.stage == Ringing).then_some((Missed, None)),
        CallNews::NeverHeardOf => None,
        CallNews::Answered => open.then_some((Answered, None)),
        CallNews::Rejected => open.then_some((Rejected, None)),
        CallNews::Ended { reason, seconds } => match (reason.as_deref(), before.stage) {
            (Some("accepted_elsewhere"), Ringing | Missed) => Some((Elsewhere, None)),
            (Some("rejected_elsewhere"), Ringing | Missed) => Some((Rejected, None)),
            (_, Answered | Elsewhere) => {
                let since = u64::try_from(ts_ms - before.since).ok().map(|ms| ms / 1000);
                let talked = since.filter(|_| before.stage == Answered);
                Some((Ended, seconds.filter(|seconds| *seconds > 0).or(talked)))
            }
            (_, Ringing) => match seconds {
                Some(seconds) if *seconds > 0 => Some((Ended, Some(*seconds))),
                _ => Some((Missed, None)),
            },
            _ => None,
        },
    }
}

fn state_of(call: &Call) -> CallState {
    match call.stage {
        CallStage::Ringing => CallState::Ringing,
        CallStage::Answered => CallState::Answered,
        CallStage::Elsewhere => CallState::AnsweredElsewhere,
        CallStage::Missed => CallState::Missed,
        CallStage::Rejected => CallState::Rejected,
        CallStage::Ended => CallState::Ended { seconds: call.seconds },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GhostId;

    fn after(stage: CallStage, news: &CallNews) -> Option<(CallStage, Option<u64>)> {
        let call = Call {
            portal: PortalId::new(1),
            call_id: "C".into(),
            caller: GhostId::new("1@lid"),
            video: false,
            group: false,
            stage,
            since: 1000,
            seconds: None,
        };
        advance(Some(&call), news, 63_000)
    }

    fn ended(reason: Option<&str>, seconds: Option<u64>) -> CallNews {
        CallNews::Ended { reason: reason.map(str::to_owned), seconds }
    }

    #[test]
    fn a_call_has_one_life() {
        use CallStage::{Answered, Elsewhere, Ended, Missed, Rejected, Ringing};
        let offer = CallNews::Offered { video: false, group: false };
        assert_eq!(advance(None, &offer, 0), Some((Ringing, None)));
        assert_eq!(advance(None, &CallNews::MissedWhileAway, 0), Some((Missed, None)));
        assert_eq!(advance(None, &ended(None, None), 0), None, "its ring was never heard");
        assert_eq!(after(Ringing, &offer), None);
        assert_eq!(after(Ringing, &ended(Some("timeout"), None)), Some((Missed, None)));
        assert_eq!(after(Ringing, &ended(Some("accepted_elsewhere"), None)), Some((Elsewhere, None)));
        assert_eq!(after(Missed, &ended(Some("accepted_elsewhere"), None)), Some((Elsewhere, None)), "while away");
        assert_eq!(after(Ringing, &ended(Some("rejected_elsewhere"), None)), Some((Rejected, None)));
        assert_eq!(after(Ringing, &CallNews::Answered), Some((Answered, None)));
        assert_eq!(after(Answered, &ended(None, None)), Some((Ended, Some(62))));
        assert_eq!(after(Answered, &ended(None, Some(7))), Some((Ended, Some(7))));
        assert_eq!(after(Elsewhere, &ended(None, None)), Some((Ended, None)));
        for over in [Ended, Rejected] {
            assert_eq!(after(over, &ended(Some("timeout"), None)), None);
            assert_eq!(after(over, &CallNews::MissedWhileAway), None);
            assert_eq!(after(over, &CallNews::NeverHeardOf), None);
        }
        assert_eq!(after(Ringing, &CallNews::NeverHeardOf), Some((Ended, None)));
    }
}
