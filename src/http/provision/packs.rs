//! Sticker packs of WhatsApp as image packs.

use super::Door;
use super::auth::Caller;
use super::people::refuse;
use super::shapes::SavedPack;
use super::status::login_of;
use crate::bridge::packs::NoPack;
use crate::convert::pack::id_in;
use crate::http::answer::{Answer, Refusal};
use axum::Json;
use axum::extract::{Extension, Query, State};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Wanted {
    login_id: Option<String>,
    pack_url: Option<String>,
}

impl Wanted {
    fn id(&self) -> Answer<&str> {
        let link = self
            .pack_url
            .as_deref()
            .ok_or_else(|| Refusal::bad("M_MISSING_PARAM", "Say with `pack_url` which pack."))?;
        id_in(link)
            .ok_or_else(|| Refusal::not_found("That is no link to a sticker pack, as `https://wa.me/stickerpack/…`."))
    }
}

/// Shows a sticker pack as the content of an image pack (MSC2545). Its stickers are put on the homeserver; nothing is sent.
#[utoipa::path(get, path = "/_matrix/provision/v3/image_pack/import", tag = "packs",
    params(("pack_url" = String, Query, description = "`https://wa.me/stickerpack/…`."),
        ("login_id" = Option<String>, Query, description = "A login of yours.")),
    responses((status = 200, description = "The content of its event.", body = Object)))]
pub(super) async fn preview(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<Wanted>,
) -> Answer<Json<Value>> {
    let id = wanted.id()?;
    let login = login_of(&door, &caller, wanted.login_id.as_deref()).await?;
    let pack = door.bridge.ready_pack(&login, id).await.map_err(refuse_pack)?;
    Ok(Json(pack.content))
}

/// Puts a sticker pack into the login's space, or mends it there.
#[utoipa::path(post, path = "/_matrix/provision/v3/image_pack/import", tag = "packs",
    params(("pack_url" = String, Query, description = "`https://wa.me/stickerpack/…`."),
        ("login_id" = Option<String>, Query, description = "A login of yours.")),
    responses((status = 200, description = "Where it is.", body = SavedPack)))]
pub(super) async fn import(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<Wanted>,
) -> Answer<Json<SavedPack>> {
    let id = wanted.id()?;
    let login = login_of(&door, &caller, wanted.login_id.as_deref()).await?;
    let imported = door.bridge.import_pack(&login, id).await.map_err(refuse_pack)?;
    Ok(Json(SavedPack {
        event_id: imported.event.to_string(),
        room_id: imported.room.to_string(),
        state_key: id.to_owned(),
    }))
}

fn refuse_pack(no_pack: NoPack) -> Refusal {
    let words = no_pack.words().unwrap_or_default();
    match no_pack {
        NoPack::NotThere | NoPack::NoSpaces => Refusal::not_found(words),
        NoPack::TooLarge => Refusal::bad("M_TOO_LARGE", words),
        NoPack::Away | NoPack::NotYet => Refusal::away(words),
        NoPack::Left => Refusal::forbidden(words),
        NoPack::Halt(halt) => refuse(halt),
    }
}
