//! Sticker packs brought over by command.

use super::Call;
use super::groups::{halted, login_of};
use crate::bridge::packs::NoPack;
use crate::convert::pack::id_in;
use crate::matrix::error::Result;

/// Brings a sticker pack into the caller's space, or mends it there.
pub(super) async fn import(call: &Call, usage: &str) -> Result<()> {
    let id = match call.rest.as_slice() {
        [link] => id_in(link),
        _ => None,
    };
    let Some(id) = id else {
        let text = format!(
            "Say `{usage}`: a link such as https://wa.me/stickerpack/Cuppy, as WhatsApp shares a sticker pack."
        );
        return call.answer(&text).await;
    };
    let Some(login) = login_of(call).await? else { return Ok(()) };
    let text = match call.bridge.import_pack(&login, id).await {
        Ok(imported) => {
            let stickers = |count: usize| if count == 1 { "1 sticker".to_owned() } else { format!("{count} stickers") };
            let left_out = match imported.pack.left_out {
                0 => String::new(),
                some => format!(" {} could not be brought over.", stickers(some)),
            };
            format!(
                "“{}” with {} is in your space: https://matrix.to/#/{}. Clients that know image packs offer it there.{left_out}",
                imported.pack.name,
                stickers(imported.pack.count),
                imported.room
            )
        }
        Err(NoPack::Halt(halt)) => return Err(halted(halt)),
        // Every other one has words.
        Err(no_pack) => no_pack.words().unwrap_or_default().to_owned(),
    };
    call.answer(&text).await
}
