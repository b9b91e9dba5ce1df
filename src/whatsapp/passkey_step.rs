//! The passkey step of one linking: what is waited for, until when, and what is done with it.
//!
//! States: none → the answer wanted → given → (the phone's code to be compared → compared) → linked. Each answer and each word is
//! taken once; while WhatsApp looks at one nothing else is taken. The connection the question came through is the one
//! the answer goes through, so the step ends with it: nothing of it is stored.

use super::line::{Ending, Line, Link};
use super::linking::LinkStep;
use super::passkey::{AnswerFault, read_answer, read_question};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use whatsapp_rust::passkey::Assertion;
use whatsapp_rust::prelude::{Client, Event};

/// How long the answer is waited for: as long as WhatsApp lets a browser take.
pub const ANSWER_LIFE: Duration = Duration::from_secs(600);
/// How long it is waited for that somebody compares two codes.
const CONFIRM_LIFE: Duration = Duration::from_secs(300);

/// Where the step stands.
#[derive(Default)]
enum Stage {
    /// No passkey is asked for.
    #[default]
    None,
    /// An answer to this question is waited for, until then.
    Wanted(String, Instant),
    /// This answer is to be sent.
    Given(Assertion),
    /// The person compares the codes, until then.
    Compared(Instant),
    /// They are the same, which is to be sent.
    Same,
    /// WhatsApp looks at what was sent.
    Sent,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Act {
    /// Send this answer.
    Answer(Assertion),
    /// Say that the codes are the same.
    Confirm,
    /// Nobody answered in time.
    TimeOut,
}

/// The passkey step of a line.
#[derive(Default)]
pub(super) struct PasskeyStep {
    stage: Mutex<Stage>,
    moved: Notify,
}

impl PasskeyStep {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_to(&self, stage: Stage) {
        *self.stage() = stage;
        self.moved.notify_one();
    }

    /// Whether it has begun on the connection of now.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(*self.stage(), Stage::None)
    }

    /// Whether an answer is waited for.
    pub(super) fn wants_answer(&self) -> bool {
        matches!(*self.stage(), Stage::Wanted(..))
    }

    /// Takes an answer.
    pub(super) fn give(&self, text: &str) -> Result<(), AnswerFault> {
        {
            let mut stage = self.stage();
            let Stage::Wanted(question, _) = &*stage else { return Err(AnswerFault::NotAsked) };
            *stage = Stage::Given(read_answer(question, text)?);
        }
        self.moved.notify_one();
        Ok(())
    }

    /// Takes the word that the codes are the same; false when none is waited for.
    pub(super) fn confirm(&self) -> bool {
        let is_wanted = matches!(*self.stage(), Stage::Compared(_));
        if is_wanted {
            self.go_to(Stage::Same);
        }
        is_wanted
    }

    /// The next thing to do, once.
    pub(super) async fn next(&self) -> Act {
        loop {
            let until = {
                let mut stage = self.stage();
                let (act, next) = match std::mem::take(&mut *stage) {
                    Stage::Given(answer) => (Some(Act::Answer(answer)), Stage::Sent),
                    Stage::Same => (Some(Act::Confirm), Stage::Sent),
                    Stage::Wanted(_, until) | Stage::Compared(until) if until <= Instant::now() => {
                        (Some(Act::TimeOut), Stage::Sent)
                    }
                    stage => (None, stage),
                };
                *stage = next;
                if let Some(act) = act {
                    return act;
                }
                match *stage {
                    Stage::Wanted(_, until) | Stage::Compared(until) => Some(until),
                    _ => None,
                }
            };
            tokio::select! {
                () = self.moved.notified() => {}
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }
}

impl Line {
    /// Hears of the step from WhatsApp; how the client ends when the linking failed.
    pub(super) async fn hear_of_passkey(&self, event: &Event, link: Option<&Link>) -> Option<Ending> {
        let link = link.filter(|_| self.login_id().is_none())?;
        match event {
            Event::PairPasskeyRequest(request) => {
                let Some(question) = read_question(&request.request_options_json) else {
                    let tell = "WhatsApp asks for this account's passkey in a way that this bridge does not know. Please tell \
                                its administrator to look for a newer version.";
                    return self.fail_linking(Some(link), tell).await;
                };
                // The library hangs up when its codes have run out, and they are of no use any more.
                self.codes.end();
                self.passkey.go_to(Stage::Wanted(question.clone(), Instant::now() + ANSWER_LIFE));
                tracing::info!("a linking asks for the account's passkey");
                self.step(link, LinkStep::Passkey { question, valid: ANSWER_LIFE }).await;
            }
            Event::PairPasskeyConfirmation(confirmation) if confirmation.skip_handoff_ux => {
                self.passkey.go_to(Stage::Same);
            }
            Event::PairPasskeyConfirmation(confirmation) => {
                self.passkey.go_to(Stage::Compared(Instant::now() + CONFIRM_LIFE));
                let (code, valid) = (confirmation.code.clone(), CONFIRM_LIFE);
                self.step(link, LinkStep::Compare { code, valid }).await;
            }
            Event::PairPasskeyError(error) => {
                tracing::debug!(error = %error.error, "the passkey step of a linking failed");
                return self.refuse_passkey(link).await;
            }
            _ => {}
        }
        None
    }

    /// Does what the person's part of the step came to; how the client ends when the linking failed.
    pub(super) async fn go_on_with_passkey(
        &self,
        act: Act,
        client: &Arc<Client>,
        link: Option<&Link>,
    ) -> Option<Ending> {
        let link = link?;
        let sending = async {
            match act {
                Act::Answer(answer) => Some(client.send_passkey_response(answer).await),
                Act::Confirm => Some(client.send_passkey_confirmation().await),
                Act::TimeOut => None,
            }
        };
        match self.stop.run_until_cancelled(sending).await {
            None => Some(Ending::Stopped),
            Some(Some(Ok(()))) => None,
            Some(Some(Err(error))) => {
                tracing::debug!(%error, "WhatsApp did not take a step of a passkey");
                self.refuse_passkey(link).await
            }
            Some(None) => {
                self.step(link, LinkStep::TimedOut).await;
                Some(Ending::Final)
            }
        }
    }

    /// Ends a linking whose connection broke off in the step; none when it was not at it.
    pub(super) async fn passkey_broke_off(&self, link: Option<&Link>) -> Option<Ending> {
        if self.login_id().is_some() || !self.passkey.has_begun() {
            return None;
        }
        let tell = "The connection to WhatsApp broke off while your passkey was waited for. Please begin again.";
        self.fail_linking(link, tell).await
    }

    async fn refuse_passkey(&self, link: &Link) -> Option<Ending> {
        let tell = "WhatsApp did not take the answer of your passkey. Please begin again, and choose the passkey of this \
                    WhatsApp account.";
        self.fail_linking(Some(link), tell).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &str = r#"{"challenge":"AAAA","rpId":"whatsapp.com"}"#;

    fn wanted(life: Duration) -> PasskeyStep {
        let step = PasskeyStep::default();
        step.go_to(Stage::Wanted(QUESTION.into(), Instant::now() + life));
        step
    }

    #[tokio::test]
    async fn who_takes_too_long_is_told_once() {
        let step = wanted(Duration::from_millis(20));
        assert!(step.wants_answer() && step.has_begun());
        let begun = Instant::now();
        assert!(matches!(step.next().await, Act::TimeOut));
        assert!(begun.elapsed() >= Duration::from_millis(19));
        assert!(!step.wants_answer());
        assert_eq!(step.give("{}"), Err(AnswerFault::NotAsked));
        step.go_to(Stage::Compared(Instant::now() + Duration::from_millis(20)));
        assert!(matches!(step.next().await, Act::TimeOut));
        assert!(tokio::time::timeout(Duration::from_millis(60), step.next()).await.is_err(), "once");
    }

    #[tokio::test]
    async fn a_word_counts_once_and_only_when_it_is_asked_for() {
        let step = PasskeyStep::default();
        assert!(!step.confirm() && step.give("{}") == Err(AnswerFault::NotAsked) && !step.has_begun());
        let step = wanted(ANSWER_LIFE);
        assert!(!step.confirm(), "the answer comes first");
        assert_eq!(step.give("{}"), Err(AnswerFault::NoAnswer));
        assert!(step.wants_answer(), "another may be given");
        step.go_to(Stage::Compared(Instant::now() + CONFIRM_LIFE));
        assert!(step.confirm() && !step.confirm());
        assert!(matches!(step.next().await, Act::Confirm));
        assert!(!step.confirm());
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let step = PasskeyStep::default();
        let (act, ()) = tokio::join!(step.next(), async {
            tokio::task::yield_now().await;
            step.go_to(Stage::Same);
        });
        assert!(matches!(act, Act::Confirm));
    }
}
