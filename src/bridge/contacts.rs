//! What changes about people: names in address books, pictures, business names.
//!
//! A change is noted in `stale_person` as it is heard and looked at here: the truth is read again and shown, and only
//! then the note is gone. A name out of an address book is shown in the name of that login's own room; the ghost, whom
//! everybody sees, keeps the name the person gave themselves.

use super::Bridge;
use super::budget::{Cost, in_background};
use super::people::{Facts, Halt};
use crate::config::plain_name;
use crate::ids::{ChatId, GhostId, LoginId};
use crate::store::contacts::{Contact, Stale, StaleMark};
use crate::store::ghosts::Ghost;
use crate::store::logins::Login;
use crate::verdict::{Gate, Verdict};
use ruma::OwnedMxcUri;
use std::sync::PoisonError;

/// What a login's own room with somebody is called.
fn chat_name(contact: Option<&Contact>, ghost: Option<&str>) -> Option<String> {
    let given = contact.and_then(Contact::name).map(plain_name).filter(|name| !name.is_empty());
    given.or_else(|| ghost.filter(|name| !name.is_empty()).map(str::to_owned))
}

impl Bridge {
    /// The name of a login's own room with a person: that of its address book, else the person's own.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn name_of_chat(&self, login: &LoginId, person: &GhostId) -> Result<Option<String>, Halt> {
        let contact = self.store().find_contact(login, person).await?;
        let ghost = self.store().find_ghost(person).await?;
        Ok(chat_name(contact.as_ref(), ghost.as_ref().map(|ghost| ghost.name.as_str())))
    }

    /// Sees to it that what a login has heard of people is looked at; one look at a time for each login.
    pub(super) fn look_at_people(&self, login: &LoginId) {
        {
            let mut refreshing = self.shared.signals.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(more) = refreshing.get_mut(login) {
                *more = true;
                return;
            }
            refreshing.insert(login.clone(), false);
        }
        let (bridge, login) = (self.clone(), login.clone());
        self.spawn(async move {
            loop {
                let looked = in_background(bridge.look_at_all(&login));
                if bridge.stop().run_until_cancelled(looked).await.is_none() {
                    return;
                }
                let mut refreshing = bridge.shared.signals.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
                if refreshing.get(&login) != Some(&true) {
                    refreshing.remove(&login);
                    return;
                }
                refreshing.insert(login.clone(), false);
            }
        });
    }

    /// Marks everything about the person of a direct chat as to be looked at, and looks.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn look_at_person_again(&self, login: &Login, chat: &ChatId) -> crate::store::Result<()> {
        let person = GhostId::new(chat.as_str());
        let mut tx = self.store().begin("contacts.look_again").await?;
        for what in [Stale::Picture, Stale::Name, Stale::Business] {
            self.store().put_stale_in(&mut tx, &login.id, &person, what).await?;
        }
        tx.commit().await?;
        self.look_at_people(&login.id);
        Ok(())
    }

    async fn look_at_all(&self, login: &LoginId) {
        let mut after = 0;
        loop {
            let marks = match self.store().stale_people(login, after).await {
                Ok(marks) if marks.is_empty() => return,
                Ok(marks) => marks,
                Err(error) => return tracing::warn!(%error, "changes of people can not be read"),
            };
            for mark in marks {
                after = mark.at;
                self.look_at(&mark).await;
            }
        }
    }

    /// Looks at one mark. What fails is looked at again with the login's next connection.
    async fn look_at(&self, mark: &StaleMark) {
        loop {
            let looked = match mark.what {
                Stale::Name => self.rename_own_room(mark).await.map_err(Trouble::Halt),
                Stale::Business => self.read_business(mark).await,
                Stale::Picture | Stale::NoPicture => self.read_picture(mark).await.map_err(Trouble::Other),
            };
            match looked {
                Ok(()) => break,
                Err(Trouble::Halt(Halt::Verdict(Verdict::Blocked(Gate::Homeserver)))) => {
                    self.matrix().wait_until_reachable().await;
                }
                Err(Trouble::Halt(Halt::Verdict(Verdict::Never { why, .. }))) => {
                    tracing::debug!(why, "a change of a person can not be shown");
                    break;
                }
                Err(Trouble::Other(_)) if !self.matrix().is_reachable() => self.matrix().wait_until_reachable().await,
                Err(error) => return tracing::debug!(%error, "a change of a person was not shown yet"),
            }
        }
        if let Err(error) = self.store().stale_is_done(mark).await {
            tracing::warn!(%error, "a change of a person stays noted");
        }
    }

    async fn rename_own_room(&self, mark: &StaleMark) -> Result<(), Halt> {
        let Some(room) = self.store().find_room_with(&mark.login, &mark.person).await? else { return Ok(()) };
        let Some(name) = self.name_of_chat(&mark.login, &mark.person).await? else { return Ok(()) };
        self.name_room(&room, &name).await
    }

    async fn read_business(&self, mark: &StaleMark) -> Result<(), Trouble> {
        self.spend(Cost::Request(&mark.login)).await;
        let name = self.whatsapp().find_business_name(&mark.login, &mark.person).await.map_err(Trouble::Other)?;
        let shown = async {
            if name.is_none() {
                // What they call themselves comes with their next message.
                self.store().forget_business_name(&mark.person).await?;
                self.forget_ready(&mark.person);
            } else {
                let facts = Facts { push_name: "", business_name: name.as_deref() };
                self.ready_ghost(&mark.person, facts).await?;
            }
            Ok(())
        };
        shown.await.map_err(Trouble::Halt)
    }

    async fn read_picture(&self, mark: &StaleMark) -> anyhow::Result<()> {
        let Some(ghost) = self.store().find_ghost(&mark.person).await?.filter(|ghost| ghost.registered) else {
            return Ok(());
        };
        if !self.show_picture(&mark.login, &ghost).await? && mark.what == Stale::NoPicture {
            self.remove_picture(&ghost).await?;
        }
        Ok(())
    }

    /// Shows a person's picture as a login sees it; false when it sees none, which may only mean that it may not.
    pub(super) async fn show_picture(&self, login: &LoginId, ghost: &Ghost) -> anyhow::Result<bool> {
        self.spend(Cost::Request(login)).await;
        let Some(picture) = self.whatsapp().find_picture(login, &ghost.id).await? else {
            self.store().set_avatar_state(&ghost.id, &ghost.avatar_id, "", ghost.avatar_set).await?;
            return Ok(false);
        };
        if picture.id == ghost.avatar_id && ghost.avatar_set {
            self.store().set_avatar_state(&ghost.id, &ghost.avatar_id, "", true).await?;
            return Ok(true);
        }
        let bytes = self.whatsapp().fetch_picture(&picture).await?;
        let mime = image::guess_format(&bytes).map(|format| format.to_mime_type())?;
        let mxc = self.matrix().upload(bytes.into(), mime, Some("avatar")).await?;
        let user = self.matrix().ghost_id(&ghost.localpart);
        self.store().set_avatar_state(&ghost.id, &picture.id, mxc.as_str(), false).await?;
        self.matrix().set_avatar(&user, mxc.clone()).await?;
        self.store().set_avatar_state(&ghost.id, &picture.id, mxc.as_str(), true).await?;
        Ok(true)
    }

    async fn remove_picture(&self, ghost: &Ghost) -> anyhow::Result<()> {
        let user = self.matrix().ghost_id(&ghost.localpart);
        self.store().set_avatar_state(&ghost.id, "", "", false).await?;
        self.matrix().set_avatar(&user, OwnedMxcUri::from("")).await?;
        Ok(self.store().set_avatar_state(&ghost.id, "", "", true).await?)
    }
}

/// Why a mark was not looked at to its end.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0:?}")]
    Halt(Halt),
    #[error(transparent)]
    Other(anyhow::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contact(full_name: &str, first_name: &str) -> Contact {
        Contact { full_name: full_name.into(), first_name: first_name.into() }
    }

    #[test]
    fn a_chat_goes_by_the_address_book_and_else_by_the_person() {
        assert_eq!(chat_name(Some(&contact("Aunt Carol", "Carol")), Some("carol")).as_deref(), Some("Aunt Carol"));
        assert_eq!(chat_name(Some(&contact(" ", "Carol")), Some("carol")).as_deref(), Some("Carol"));
        assert_eq!(chat_name(Some(&contact("", "")), Some("carol")).as_deref(), Some("carol"));
        assert_eq!(chat_name(Some(&contact("\u{202E}\n", "")), Some("carol")).as_deref(), Some("carol"));
        assert_eq!(chat_name(None, Some("")), None);
    }

    proptest! {
        #[test]
        fn a_chat_with_a_ghost_of_a_name_has_a_name(full in any::<String>(), first in any::<String>()) {
            let name = chat_name(Some(&contact(&full, &first)), Some("carol"));
            prop_assert!(name.is_some_and(|name| !name.trim().is_empty() && !name.chars().any(char::is_control)));
        }
    }
}
