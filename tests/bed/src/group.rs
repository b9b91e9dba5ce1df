//! One group seen from all sides: the rooms of the people on Matrix, and the phones of its members.
//!
//! What is said through it is remembered, so that [`Group::check_laws`] can compare. Texts must be unique in a story.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::laws;
use crate::person::{Event, Person};
use crate::phones::{Account, InboxItem, Phones};
use crate::wait;

/// Who said what: by the name of the account.
#[derive(Default)]
struct Said {
    on_phones: Vec<(String, String)>,
    on_matrix: Vec<(String, String)>,
}

/// A WhatsApp group. Clones are the same.
#[derive(Clone)]
pub struct Group {
    phones: Phones,
    /// Its JID.
    pub jid: String,
    said: Arc<Mutex<Said>>,
}

impl Group {
    /// The phone of `maker` makes a group with these members.
    ///
    /// # Errors
    /// The simulator refuses.
    pub fn create(phones: &Phones, maker: &Account, subject: &str, members: &[&Account]) -> Result<Self> {
        let numbers: Vec<&str> = members.iter().map(|member| member.number.as_str()).collect();
        let jid = phones.simulator().create_group(&maker.number, subject, &numbers)?;
        Ok(Self { phones: phones.clone(), jid, said: Arc::default() })
    }

    /// A group that is there already, by its JID.
    #[must_use]
    pub fn of(phones: &Phones, jid: &str) -> Self {
        Self { phones: phones.clone(), jid: jid.to_owned(), said: Arc::default() }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member's phone writes into the group; returns the message's id.
    ///
    /// # Errors
    /// The simulator refuses.
    pub async fn phone_says(&self, member: &Account, text: &str) -> Result<String> {
        self.said().on_phones.push((member.name.clone(), text.to_owned()));
        self.phones.send(&member.number, &self.jid, text).await
    }

    /// Somebody on Matrix writes into the group's room; returns the event's id.
    ///
    /// # Errors
    /// They have no such room.
    pub async fn person_says(&self, person: &Person, account: &Account, text: &str) -> Result<String> {
        let room = self.room_of(person).await?;
        self.said().on_matrix.push((account.name.clone(), text.to_owned()));
        person.send_text(&room, text).await
    }

    /// Waits until the group has a room for this person that bears its name now, and returns it.
    ///
    /// # Errors
    /// It does not come.
    pub async fn room_of(&self, person: &Person) -> Result<String> {
        let subject = self.phones.simulator().group(&self.jid).context("no such group")?.subject;
        let named = |event: &Event| event.kind == "m.room.name" && event.content["name"] == subject.as_str();
        Ok(person.wait_event(&format!("a room named {subject:?}"), wait::STEP, named).await?.room)
    }

    /// Waits until a text is in somebody's room of the group.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait_in_room(&self, person: &Person, text: &str) -> Result<Event> {
        person.wait_event(&format!("{text:?} from WhatsApp"), wait::STEP, |event| event.body() == text).await
    }

    /// Waits until a member's phone has a message of the group.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait_item(
        &self,
        member: &Account,
        what: &str,
        wanted: impl Fn(&InboxItem) -> bool,
    ) -> Result<InboxItem> {
        wait::until(what, wait::STEP, || async { Ok(self.items(member).into_iter().find(|item| wanted(item))) })
            .await
            .with_context(|| format!("{}'s phone has {:?}", member.name, self.items(member)))
    }

    /// Waits until a member's phone has a text of the group.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait_at(&self, member: &Account, text: &str) -> Result<InboxItem> {
        let what = format!("{text:?} on {}'s phone", member.name);
        self.wait_item(member, &what, |item| item.text.as_deref() == Some(text)).await
    }

    /// What a member's phone shows of the group.
    #[must_use]
    pub fn items(&self, member: &Account) -> Vec<InboxItem> {
        let mut items = self.phones.inbox(&member.number);
        items.retain(|item| item.chat == self.jid);
        items
    }

    /// Waits until a piece of the room's state is as wanted.
    ///
    /// # Errors
    /// It does not become so.
    pub async fn wait_state(
        &self,
        person: &Person,
        kind: &str,
        key: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let room = self.room_of(person).await?;
        let last = Mutex::new(None);
        wait::until(&format!("{kind} of the room"), wait::STEP, || async {
            let now = person.find_state(&room, kind, key).await?;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = now.clone();
            Ok(now.filter(|now| wanted(now)))
        })
        .await
        .with_context(|| format!("it is {:?}", last.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Waits until everything said is on all sides, and checks the laws for each person and each phone: nothing lost,
    /// nothing doubled, order kept per speaker.
    ///
    /// # Errors
    /// A law is broken.
    pub async fn check_laws(&self, people: &[&Person], phones: &[&Account]) -> Result<()> {
        let (on_phones, on_matrix) = {
            let said = self.said();
            (said.on_phones.clone(), said.on_matrix.clone())
        };
        for person in people {
            for (_, text) in on_phones.iter().chain(&on_matrix) {
                self.wait_in_room(person, text).await?;
            }
        }
        for phone in phones {
            for (_, text) in on_matrix.iter().chain(&on_phones).filter(|(speaker, _)| *speaker != phone.name) {
                self.wait_at(phone, text).await?;
            }
        }
        for person in people {
            let history = person.history(&self.room_of(person).await?).await?;
            let seen: Vec<String> = history.iter().map(|event| event.body().to_owned()).collect();
            for speaker in speakers(&on_phones).into_iter().chain(speakers(&on_matrix)) {
                laws::check(&format!("{speaker} -> {}", person.name()), &texts_of(&on_phones, &speaker), &seen)?;
                laws::check(&format!("{speaker} -> {}", person.name()), &texts_of(&on_matrix, &speaker), &seen)?;
            }
        }
        for phone in phones {
            let seen: Vec<String> = self.items(phone).into_iter().filter_map(|item| item.text).collect();
            for speaker in speakers(&on_matrix) {
                laws::check(&format!("{speaker} -> {}", phone.name), &texts_of(&on_matrix, &speaker), &seen)?;
            }
        }
        ensure!(!people.is_empty(), "nobody was looked at");
        Ok(())
    }
}

fn speakers(said: &[(String, String)]) -> Vec<String> {
    let mut names: Vec<String> = said.iter().map(|(speaker, _)| speaker.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn texts_of(said: &[(String, String)], speaker: &str) -> Vec<String> {
    said.iter().filter(|(who, _)| who == speaker).map(|(_, text)| text.clone()).collect()
}
