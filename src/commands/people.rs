//! What is known of the person of a chat.

use super::groups::{halted, words_for};
use super::{Call, database};
use crate::ids::GhostId;
use crate::matrix::error::Result;
use crate::store::portals::PortalKind;

/// Tells number, names and about text of the person of a direct chat.
pub(super) async fn about(call: &Call) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    if portal.kind != PortalKind::Direct {
        return call.answer("Say this in the room of a chat with one person.").await;
    }
    let store = call.bridge.store();
    let person = GhostId::new(portal.chat.as_str());
    let number = if person.as_str().ends_with("@lid") {
        store.find_pn(&person).await.map_err(database)?
    } else {
        Some(person.clone())
    };
    let about = match call.bridge.whatsapp().find_about(&login.id, &person).await {
        Ok(about) => about,
        Err(failure) => return call.answer(words_for(&failure)).await,
    };
    let mut lines = Vec::new();
    if let Some(name) = call.bridge.name_of_chat(&login.id, &person).await.map_err(halted)? {
        lines.push(format!("Name: {name}"));
    }
    if let Some(number) = number.as_ref().and_then(|number| number.as_str().split('@').next()) {
        lines.push(format!("Number: +{number}"));
    }
    lines.push(match about {
        Some(text) => format!("About: {text}"),
        None => "About: nothing that you may see.".to_owned(),
    });
    call.answer(&lines.join("\n")).await
}
