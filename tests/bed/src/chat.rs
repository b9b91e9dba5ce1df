//! One conversation seen from both sides: a room of a person's, and the phones of the contact and of the person.
//!
//! What is said through a chat is remembered, so that [`Chat::check_laws`] can compare it with what is in the room
//! (asked of the homeserver) and on the phones (asked of the simulator). Texts must be unique within a story.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::laws;
use crate::person::{Event, Person};
use crate::phones::{Account, InboxItem, Phones};
use crate::wait;

#[derive(Default)]
struct Said {
    room: Option<String>,
    by_contact: Vec<String>,
    by_own_phone: Vec<String>,
    by_person: Vec<String>,
    events: HashSet<String>,
}

struct Parts {
    person: Person,
    login: Account,
    contact: Account,
    phones: Phones,
    said: Mutex<Said>,
}

/// A conversation between a person (through the login of an account of theirs) and a WhatsApp contact. Clones are the
/// same chat.
#[derive(Clone)]
pub struct Chat {
    parts: Arc<Parts>,
}

impl Chat {
    /// Returns the chat of `person`'s login `login` with `contact`; nothing is sent.
    #[must_use]
    pub fn new(phones: &Phones, person: &Person, login: &Account, contact: &Account) -> Self {
        let (person, phones) = (person.clone(), phones.clone());
        let (login, contact) = (login.clone(), contact.clone());
        Self { parts: Arc::new(Parts { person, login, contact, phones, said: Mutex::default() }) }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.parts.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the person.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.parts.person
    }

    /// Returns the account of the person's login.
    #[must_use]
    pub fn login(&self) -> &Account {
        &self.parts.login
    }

    /// Returns the contact's account.
    #[must_use]
    pub fn contact(&self) -> &Account {
        &self.parts.contact
    }

    /// Returns the room, once a message of the contact's was seen in it.
    ///
    /// # Errors
    /// None was seen yet.
    pub fn room(&self) -> Result<String> {
        self.said().room.clone().context("no message of this chat has been seen in a room yet")
    }

    /// The contact's phone sends a text; returns its WhatsApp id.
    ///
    /// # Errors
    /// The simulator refuses.
    pub async fn contact_says(&self, text: &str) -> Result<String> {
        // Remembered in the order of sending, also when several are sent at once.
        self.said().by_contact.push(text.to_owned());
        self.parts.phones.send(&self.parts.contact.number, &self.parts.login.number, text).await
    }

    /// The person's own phone sends a text to the contact; returns its WhatsApp id.
    ///
    /// # Errors
    /// The simulator refuses.
    pub async fn own_phone_says(&self, text: &str) -> Result<String> {
        self.said().by_own_phone.push(text.to_owned());
        self.parts.phones.send(&self.parts.login.number, &self.parts.contact.number, text).await
    }

    /// The person writes into the room; returns the event's id.
    ///
    /// # Errors
    /// The room is not known yet, or the homeserver refuses.
    pub async fn person_says(&self, text: &str) -> Result<String> {
        let room = self.room()?;
        self.said().by_person.push(text.to_owned());
        let event = self.parts.person.send_text(&room, text).await?;
        self.said().events.insert(event.clone());
        Ok(event)
    }

    /// Waits until a text from WhatsApp is in the person's client; the first one tells which room the chat has.
    ///
    /// # Errors
    /// It does not come, or comes in another room than the ones before.
    pub async fn wait_in_room(&self, text: &str) -> Result<Event> {
        self.wait_in_room_for(text, wait::STEP).await
    }

    /// As [`Chat::wait_in_room`], with a limit of its own.
    ///
    /// # Errors
    /// As [`Chat::wait_in_room`].
    pub async fn wait_in_room_for(&self, text: &str, limit: Duration) -> Result<Event> {
        let what = format!("{text:?} from WhatsApp");
        let seen = |event: &Event| event.body() == text && !self.said().events.contains(&event.id);
        let event = self.parts.person.wait_event(&what, limit, seen).await?;
        let mut said = self.said();
        let room = said.room.get_or_insert_with(|| event.room.clone());
        ensure!(*room == event.room, "{text:?} came in {}, but the chat's room is {room}", event.room);
        drop(said);
        Ok(event)
    }

    /// Returns the item of the contact's phone with this text, if it is there already.
    #[must_use]
    pub fn find_at_contact(&self, text: &str) -> Option<InboxItem> {
        let items = self.parts.phones.inbox(&self.parts.contact.number);
        items.into_iter().find(|item| item.text.as_deref() == Some(text))
    }

    /// Waits until a text of the person's is on the contact's phone.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait_at_contact(&self, text: &str) -> Result<InboxItem> {
        self.wait_at_contact_for(text, wait::STEP).await
    }

    /// As [`Chat::wait_at_contact`], with a limit of its own.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait_at_contact_for(&self, text: &str, limit: Duration) -> Result<InboxItem> {
        let Account { number, name, .. } = &self.parts.contact;
        let what = format!("{text:?} on {name}'s phone");
        let inbox = wait::until(&what, limit, || async { Ok(self.find_at_contact(text)) });
        inbox.await.with_context(|| {
            let texts: Vec<String> = self.parts.phones.inbox(number).iter().map(describe).collect();
            format!("{name}'s phone has: {texts:?}")
        })
    }

    /// The contact says something and it comes into the room: the usual way to begin.
    ///
    /// # Errors
    /// It does not come.
    pub async fn begin(&self, text: &str) -> Result<Event> {
        self.contact_says(text).await?;
        self.wait_in_room(text).await
    }

    /// Waits until everything said so far is on the other side.
    ///
    /// # Errors
    /// Something does not come within `limit` each.
    pub async fn wait_all(&self, limit: Duration) -> Result<()> {
        let (to_room, to_phone) = {
            let said = self.said();
            ([&said.by_contact[..], &said.by_own_phone[..]].concat(), said.by_person.clone())
        };
        for text in to_room {
            self.wait_in_room_for(&text, limit).await?;
        }
        for text in to_phone {
            self.wait_at_contact_for(&text, limit).await?;
        }
        Ok(())
    }

    /// Checks the first three laws for all that was said: nothing lost, nothing doubled, order kept per direction.
    ///
    /// Prints how often a phone got something again that it had already (with the same id, so that it shows it once).
    ///
    /// # Errors
    /// A law is broken; the text says which, by which text.
    pub async fn check_laws(&self) -> Result<()> {
        let Parts { person, login, contact, phones, .. } = &*self.parts;
        let (room, by_contact, by_own_phone, by_person, own_events) = {
            let said = self.said();
            let texts = (said.by_contact.clone(), said.by_own_phone.clone(), said.by_person.clone());
            (said.room.clone(), texts.0, texts.1, texts.2, said.events.clone())
        };
        let path = |from: &str, to: &str| format!("{from} -> {to}");
        if let Some(room) = &room {
            let history = person.history(room).await?;
            let bridged = history.iter().filter(|event| !own_events.contains(&event.id) && !event.body().is_empty());
            let seen: Vec<String> = bridged.map(|event| event.body().to_owned()).collect();
            laws::check(&path(&contact.name, person.name()), &by_contact, &seen)?;
            laws::check(&path("own phone", person.name()), &by_own_phone, &seen)?;
        } else {
            ensure!(by_contact.is_empty() && by_own_phone.is_empty(), "no room, but something was said on WhatsApp");
        }
        let items = phones.inbox(&contact.number);
        laws::check(&path(person.name(), &contact.name), &by_person, &texts(&items))?;
        let own: Vec<InboxItem> = phones.inbox(&login.number).into_iter().filter(|item| item.from_me).collect();
        laws::check(&path(person.name(), "own phone"), &by_person, &texts(&own))?;
        let again: u64 = items.iter().map(|item| u64::from(item.arrivals.saturating_sub(1))).sum();
        if again > 0 {
            println!("{}'s phone got {again} messages again that it had already; it shows each once", contact.name);
        }
        Ok(())
    }
}

fn texts(items: &[InboxItem]) -> Vec<String> {
    items.iter().filter_map(|item| item.text.clone()).collect()
}

fn describe(item: &InboxItem) -> String {
    item.text.clone().unwrap_or_else(|| format!("({})", item.id))
}
