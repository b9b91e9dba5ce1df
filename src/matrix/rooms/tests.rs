//! Rooms against a scripted homeserver.

use super::*;
use crate::matrix::homeserver_double::{Double, fault, fine};

const BOT: &str = "@whatsappbot:test.local";

fn recipe() -> RoomRecipe {
    RoomRecipe {
        alias_localpart: Some("whatsapp_abc".into()),
        name: Some("Chat".into()),
        is_direct: true,
        invite: vec!["@alice:test.local".try_into().unwrap()],
        ..RoomRecipe::default()
    }
}

#[tokio::test]
async fn a_room_is_made_with_every_protected_event_listed() {
    let double = Double::start().await;
    double.as_user("POST", "v3/createRoom", BOT, fine(json!({ "room_id": "!r:test.local" })), 1).await;
    let matrix = double.matrix().await;
    assert_eq!(matrix.create_room(&recipe()).await.unwrap(), "!r:test.local");
    let body = double.bodies("POST", "v3/createRoom").await.remove(0);
    assert_eq!(body["room_version"], "11");
    assert_eq!(body["room_alias_name"], "whatsapp_abc");
    assert_eq!(body["preset"], "private_chat");
    assert_eq!(body["is_direct"], true);
    let powers = &body["power_level_content_override"];
    assert_eq!(powers["users"], json!({ BOT: 100 }));
    for kind in ["m.room.tombstone", "m.room.encryption", "m.room.power_levels", "m.room.server_acl"] {
        assert_eq!(powers["events"][kind], 100, "{kind}");
    }
}

#[tokio::test]
async fn a_room_of_an_earlier_try_is_adopted_and_completed() {
    let double = Double::start().await;
    double.as_user("POST", "v3/createRoom", BOT, fault(400, "M_ROOM_IN_USE"), 1).await;
    let directory = "v3/directory/room/%23whatsapp_abc:test.local";
    double.lookup(directory, "!r:test.local").await;
    let state = "v3/rooms/!r:test.local/state";
    double
        .as_user("GET", &format!("{state}/m.room.create/"), BOT, fine(json!({ "sender": BOT, "content": {} })), 1)
        .await;
    // The name is there already, the invitation is not, and nothing else is.
    double.as_user("GET", &format!("{state}/m.room.name/"), BOT, fine(json!({ "name": "Chat" })), 1).await;
    for (kind, times) in [
        ("m.room.power_levels/", 1),
        ("m.room.join_rules/", 1),
        ("m.room.history_visibility/", 1),
        ("m.room.canonical_alias/", 1),
        ("m.room.guest_access/", 1),
        ("m.room.member/@alice:test.local", 1),
        ("m.room.name/", 0),
    ] {
        let at = format!("{state}/{kind}");
        if times > 0 {
            double.as_user("GET", &at, BOT, fault(404, "M_NOT_FOUND"), times).await;
        }
        double.as_user("PUT", &at, BOT, fine(json!({ "event_id": "$e" })), times).await;
    }
    let matrix = double.matrix().await;
    assert_eq!(matrix.create_room(&recipe()).await.unwrap(), "!r:test.local");
    let invite = double.bodies("PUT", &format!("{state}/m.room.member/@alice:test.local")).await;
    assert_eq!(invite, [json!({ "membership": "invite", "is_direct": true })]);
}

#[tokio::test]
async fn an_alias_without_a_usable_room_is_taken_anew() {
    let double = Double::start().await;
    double
        .on("POST", "v3/createRoom")
        .respond_with(fault(400, "M_ROOM_IN_USE"))
        .up_to_n_times(1)
        .expect(1)
        .mount(&double.server)
        .await;
    let directory = "v3/directory/room/%23whatsapp_abc:test.local";
    double.lookup(directory, "!dead:test.local").await;
    double.as_user("GET", "v3/rooms/!dead:test.local/state/m.room.create/", BOT, fault(403, "M_FORBIDDEN"), 1).await;
    double.as_user("DELETE", directory, BOT, fine(json!({})), 1).await;
    double.as_user("POST", "v3/createRoom", BOT, fine(json!({ "room_id": "!new:test.local" })), 1).await;
    let matrix = double.matrix().await;
    let made = matrix.create_room(&recipe()).await;
    assert_eq!(made.as_ref().map(|r| r.as_str()), Ok("!new:test.local"), "{:?}", double.counts().await);
}

#[tokio::test]
async fn inviting_somebody_who_is_there_is_done_and_a_ban_is_not() {
    let double = Double::start().await;
    double.as_user("POST", "v3/rooms/!r:test.local/invite", BOT, fault(403, "M_FORBIDDEN"), 2).await;
    let member = |user: &str| format!("v3/rooms/!r:test.local/state/m.room.member/{user}");
    double.as_user("GET", &member("@alice:test.local"), BOT, fine(json!({ "membership": "join" })), 1).await;
    double.as_user("GET", &member("@bob:test.local"), BOT, fine(json!({ "membership": "ban" })), 1).await;
    let matrix = double.matrix().await;
    let room: OwnedRoomId = "!r:test.local".try_into().unwrap();
    let user = |text: &str| UserId::parse(text).unwrap();
    matrix.invite(&room, &user("@alice:test.local")).await.unwrap();
    let banned = matrix.invite(&room, &user("@bob:test.local")).await;
    assert!(matches!(banned, Err(MatrixError::Forbidden { .. })));
}

#[tokio::test]
async fn a_ghost_that_may_not_join_is_registered_and_invited_first() {
    let double = Double::start().await;
    let ghost = "@whatsapp_1:test.local";
    double
        .on("POST", "v3/rooms/!r:test.local/join")
        .respond_with(fault(403, "M_FORBIDDEN"))
        .up_to_n_times(1)
        .expect(1)
        .mount(&double.server)
        .await;
    double.on("POST", "v3/register").respond_with(fault(400, "M_USER_IN_USE")).expect(1).mount(&double.server).await;
    double.as_user("PUT", "v3/devices/WABRIDGE", ghost, fine(json!({})), 1).await;
    double.as_user("POST", "v3/rooms/!r:test.local/invite", BOT, fine(json!({})), 1).await;
    let joined = fine(json!({ "room_id": "!r:test.local" }));
    double.as_user("POST", "v3/rooms/!r:test.local/join", ghost, joined, 1).await;
    let matrix = double.matrix().await;
    let room: OwnedRoomId = "!r:test.local".try_into().unwrap();
    matrix.ensure_joined(&room, &matrix.ghost_id("1")).await.unwrap();
    let register = double.bodies("POST", "v3/register").await.remove(0);
    assert_eq!(register["inhibit_login"], true);
    assert_eq!(register["type"], "m.login.application_service");
}

#[test]
fn state_holds_what_is_wanted_when_the_homeserver_added_to_it() {
    assert!(holds(&json!({ "topic": "a", "m.topic": {} }), &json!({ "topic": "a" })));
    assert!(!holds(&json!({ "topic": "b" }), &json!({ "topic": "a" })));
    assert!(!holds(&json!({ "users": { "a": 1 } }), &json!({ "users": { "a": 1, "b": 2 } })));
}
