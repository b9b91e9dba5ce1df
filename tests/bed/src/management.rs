//! The chat of a person with the bridge's bot, and logging in there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::person::{Event, Person};
use crate::phones::{Account, Phones};
use crate::{qr, wait};

/// A management room.
#[derive(Clone)]
pub struct Management {
    person: Person,
    bot: String,
    room: String,
}

impl Management {
    /// Opens a direct chat with the bot and waits for its greeting.
    ///
    /// # Errors
    /// The bot does not come or says nothing.
    pub async fn open(person: &Person, bot: &str) -> Result<Self> {
        let room = person.create_dm(bot).await?;
        person.wait_member(&room, bot, "join").await?;
        let management = Self { person: person.clone(), bot: bot.to_owned(), room };
        management.wait_notice("the bot's greeting", |_| true).await?;
        Ok(management)
    }

    /// Returns the management room a person already has.
    #[must_use]
    pub fn at(person: &Person, bot: &str, room: &str) -> Self {
        Self { person: person.clone(), bot: bot.to_owned(), room: room.to_owned() }
    }

    /// Returns the room's id.
    #[must_use]
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Returns the person.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// Sends a command and returns the bot's first notice after it that contains `answer` (whatever the case).
    ///
    /// # Errors
    /// No such answer comes.
    pub async fn ask(&self, command: &str, answer: &str) -> Result<Event> {
        let asked = Instant::now();
        self.person.send_text(&self.room, command).await?;
        let what = format!("an answer with {answer:?} to {command:?}");
        self.wait_notice(&what, |event| event.arrived >= asked && contains(event, answer)).await
    }

    /// Waits for a notice of the bot's (an edit of one counts with its new text).
    ///
    /// # Errors
    /// None comes that `wanted` accepts.
    pub async fn wait_notice(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let is_notice = |event: &Event| {
            event.room == self.room
                && event.sender == self.bot
                && event.kind == "m.room.message"
                && event.newest_content()["msgtype"] == "m.notice"
        };
        self.person.wait_event(what, wait::STEP, |event| is_notice(event) && wanted(event)).await
    }

    /// Asks for a QR code; the event of the picture, and what the picture says.
    ///
    /// # Errors
    /// There is none.
    pub async fn ask_for_qr(&self) -> Result<(Event, String)> {
        let asked = Instant::now();
        self.person.send_text(&self.room, "login qr").await?;
        let picture = self.wait_qr(asked, &[]).await?;
        let code = self.read_qr(&picture).await?;
        Ok((picture, code))
    }

    /// Logs in by QR code: asks for it, reads it out of the picture in the room, lets the phone of `account` scan it,
    /// and waits for the bot's word. Returns the event of the picture.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn login_by_qr(&self, phones: &Phones, account: &Account) -> Result<Event> {
        let asked = Instant::now();
        self.person.send_text(&self.room, "login qr").await?;
        let picture = self.wait_qr(asked, &[]).await?;
        let mut shown = picture.clone();
        let mut tried = Vec::new();
        // A code can run out while it is being scanned; then the picture is edited, and the phone looks again.
        loop {
            tried.push(shown.id.clone());
            match phones.scan(&account.number, &self.read_qr(&shown).await?).await {
                Ok(()) => break,
                Err(error) if tried.len() < 3 => {
                    tracing::info!("{} could not scan: {error:#}", account.name);
                    shown = self.wait_qr(asked, &tried).await?;
                }
                Err(error) => return Err(error.context(format!("{} scans the code", account.name))),
            }
        }
        self.wait_logged_in(asked).await?;
        Ok(picture)
    }

    /// Logs in by the eight-letter code that is typed into the phone of `account`.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn login_by_code(&self, phones: &Phones, account: &Account) -> Result<()> {
        let asked = self.link_by_code(phones, account).await?;
        self.wait_logged_in(asked).await
    }

    /// Types the code into the phone, whatever the bridge makes of it; returns when the command was given.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn link_by_code(&self, phones: &Phones, account: &Account) -> Result<Instant> {
        self.type_code_of(&format!("login phone {}", account.number), phones, account).await
    }

    /// Links an account again by the code that `relogin` gives.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn relogin_by_code(&self, phones: &Phones, account: &Account) -> Result<()> {
        let asked = self.type_code_of(&format!("relogin {} phone", account.number), phones, account).await?;
        self.wait_logged_in(asked).await
    }

    async fn type_code_of(&self, command: &str, phones: &Phones, account: &Account) -> Result<Instant> {
        let asked = Instant::now();
        self.person.send_text(&self.room, command).await?;
        let notice = self
            .wait_notice("a code to type into the phone", |event| {
                event.arrived >= asked && find_code(text_of(event)).is_some()
            })
            .await?;
        let code = find_code(text_of(&notice)).context("no code")?;
        phones.enter_code(&account.number, &code).await?;
        Ok(asked)
    }

    async fn wait_logged_in(&self, asked: Instant) -> Result<()> {
        let done = |event: &Event| event.arrived >= asked && contains(event, "logged in");
        self.wait_notice("the bot says that the login succeeded", done).await.map(drop)
    }

    async fn wait_qr(&self, asked: Instant, tried: &[String]) -> Result<Event> {
        let limit = Duration::from_secs(70);
        self.person
            .wait_event("a QR picture", limit, |event| {
                event.room == self.room
                    && event.sender == self.bot
                    && event.arrived >= asked
                    && event.newest_content()["msgtype"] == "m.image"
                    && !tried.contains(&event.id)
            })
            .await
    }

    async fn read_qr(&self, event: &Event) -> Result<String> {
        let address = event.newest_content()["url"].as_str().context("the picture has no url")?;
        qr::read(&self.person.client().download(address).await?)
    }
}

fn text_of(event: &Event) -> &str {
    event.newest_content()["body"].as_str().unwrap_or_default()
}

fn contains(event: &Event, text: &str) -> bool {
    text_of(event).to_lowercase().contains(&text.to_lowercase())
}

/// Finds a code of the form `XXXX-XXXX` (capital letters and digits).
fn find_code(text: &str) -> Option<String> {
    let half = |part: &str| part.len() == 4 && part.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .find(|word| word.split_once('-').is_some_and(|(first, second)| half(first) && half(second)))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::find_code;

    #[test]
    fn a_code_is_found_in_a_sentence() {
        assert_eq!(find_code("Type **ABCD-12EF** into your phone."), Some("ABCD-12EF".to_owned()));
        assert_eq!(find_code("A well-made half-word, 12-34."), None);
    }
}
