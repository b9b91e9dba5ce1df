//! Groups put into people's own spaces, and taken out again.

use super::groups::halted;
use super::{Call, database};
use crate::bridge::guest_rooms::{Place, Placed};
use crate::matrix::error::Result;

/// Puts the group's room into a space of the caller's, or takes it out.
pub(super) async fn place(call: &Call, place: Place, usage: &str) -> Result<()> {
    let Some(named) = call.rest.first() else {
        return call.answer(&format!("Say `{usage}` in the group's room: a space's id, address or link.")).await;
    };
    let Some((portal, _)) = &call.chat else { return Ok(()) };
    let bot = call.bridge.matrix().bot().to_string();
    let text = match call.bridge.place_in_space(portal, &call.sender, named, place).await {
        Ok(Placed::Done) if place == Place::In => "This group is in the space now.".to_owned(),
        Ok(Placed::Done) => "This group is in the space no longer.".to_owned(),
        Ok(Placed::NotThere) => format!("I am in no such space. Invite {bot} into it first."),
        Ok(Placed::NoSpace) => "That room is no space.".to_owned(),
        Ok(Placed::NotYours) => "You may not change what is in that space.".to_owned(),
        Ok(Placed::NotMine) => {
            format!("I may not change what is in that space. Give {bot} the power to (`m.space.child`).")
        }
        Ok(Placed::NotByMe) => "It is not I who has put this group into that space.".to_owned(),
        Err(crate::bridge::people::Halt::Store(error)) => return Err(database(error)),
        Err(halt) => return Err(halted(halt)),
    };
    call.answer(&text).await
}
