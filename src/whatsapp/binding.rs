//! The end of a linking: a device becomes somebody's login.
//!
//! Device, login and owner are recorded in one transaction, after the library's keys are durable (its confirmation
//! may leave before they are). A death before that leaves a device without a login, swept after an hour; the phone
//! shows one dead device at most.

use super::LineSetup;
use super::intake::bare;
use super::line::{Ending, Line, Link};
use super::linking::LinkStep;
use super::signals::Heard;
use crate::ids::LoginId;
use crate::masked::Masked;
use crate::store::StoreError;
use crate::store::inbox::ring_all;
use crate::store::logins::Own;
use std::sync::Arc;
use whatsapp_rust::prelude::Client;
use whatsapp_rust::wacore::types::events::PairSuccess;

impl Line {
    /// Records a finished pairing, or refuses it with words.
    pub(super) async fn bind(
        &self,
        success: &PairSuccess,
        setup: &LineSetup,
        client: &Arc<Client>,
        link: Option<&Link>,
    ) -> Option<Ending> {
        let link = link?;
        if let Err(error) = client.persistence_manager().flush().await {
            tracing::error!(%error, "the keys of a new device could not be stored");
            return self
                .fail_linking(Some(link), "The database did not take the new device's keys; please try again.")
                .await;
        }
        let login = LoginId::new(success.id.user.to_string());
        match self.record_login(success, &login, setup, link).await {
            Ok(true) => {
                self.login.send_replace(Some(login.clone()));
                setup.adopt(&login, self.device());
                tracing::info!(login = %self.masked(), "linked");
                self.step(link, LinkStep::Linked { login }).await;
                None
            }
            Ok(false) => {
                if let Err(error) = setup.store.note_try(&login).await {
                    tracing::warn!(%error, "the owner of a login does not hear that somebody else tried to link it");
                }
                tracing::info!(login = %Masked::phone(login.as_str()), "refused to somebody else: it is linked already");
                setup.signal(login, Heard::Tried);
                client.logout().await;
                let tell = "This WhatsApp account is already linked by another person on this bridge. They have to log out first.";
                self.fail_linking(Some(link), tell).await
            }
            Err(error) => {
                tracing::error!(%error, "a new login could not be stored");
                client.logout().await;
                self.fail_linking(Some(link), "The database did not take the new login; please try again.").await
            }
        }
    }

    async fn record_login(
        &self,
        success: &PairSuccess,
        login: &LoginId,
        setup: &LineSetup,
        link: &Link,
    ) -> Result<bool, StoreError> {
        let store = &setup.store;
        let (pn, lid) = (bare(&success.id), bare(&success.lid));
        let known_lid = (!success.lid.user.is_empty()).then_some(&lid);
        let old = store.find_login(login).await?.filter(|old| old.mxid == link.mxid && old.device != *self.device());
        let mut tx = store.begin("login.bind").await?;
        store.release_login_in(&mut tx, login, &link.mxid).await?;
        if !store.put_login_in(&mut tx, login, &link.mxid, self.device(), Own { lid: known_lid, pn: &pn }).await? {
            return Ok(false);
        }
        store.bind_device(&mut tx, self.device(), login).await?;
        let mut lanes = Vec::new();
        if let Some(lid) = known_lid {
            store.put_alias_in(&mut tx, &pn, lid).await?;
            lanes = store.join_ids_in(&mut tx, &pn, lid).await?;
        }
        if let Some(old) = &old {
            store.delete_device_in(&mut tx, &old.device).await?;
        }
        tx.commit().await?;
        ring_all(store, lanes);
        if let Some(old) = &old {
            // Another device with keys of its own: it may outlive the commit, and its end is not the login's any more.
            setup.retire(login, &old.device).await;
        }
        Ok(true)
    }
}
