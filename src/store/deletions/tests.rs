use super::*;
use crate::ids::{ChatId, GhostId, LoginId, WaMessageId};
use crate::store::messages::{PartKey, Reservation};
use crate::store::tests::on_both;

on_both! {
    rooms_are_given_up_once_and_left_one_by_one => all;
    a_new_room_shows_nothing => new_room;
    what_is_written_as_a_room_is_given_up_is_not_of_the_next => at_once;
    what_was_sent_into_a_room_given_up_is_not_sent => late;
}

async fn portal(store: &Store, chat: &str, kind: PortalKind) -> Portal {
    let mut tx = store.begin("test").await.unwrap();
    let receiver = LoginId::new("1");
    let receiver = (kind == PortalKind::Direct).then_some(&receiver);
    let portal = store.find_or_make_portal_in(&mut tx, &ChatId::new(chat), receiver, "@a:x", kind).await.unwrap();
    tx.commit().await.unwrap();
    portal
}

async fn give_up(store: &Store, portal: &Portal, room: &str) -> bool {
    let mut tx = store.begin("test").await.unwrap();
    let given_up = store.give_up_room_in(&mut tx, portal, room, &format!("{room}-next")).await.unwrap();
    tx.commit().await.unwrap();
    given_up
}

async fn all(store: Store) {
    let (one, other) =
        (portal(&store, "1@lid", PortalKind::Direct).await, portal(&store, "2@g.us", PortalKind::Group).await);
    portal(&store, "3@g.us", PortalKind::Group).await;
    for (portal, room) in [(&one, "!one"), (&other, "!other")] {
        store.put_new_room(portal, room).await.unwrap();
    }
    assert_eq!(store.count_rooms().await.unwrap(), 2);
    let put = async || store.put_deletion("$e", Telling::All, "!told", Doomed::All, &Farewell::Goes).await.unwrap();
    assert!(!store.has_deletion("$e").await.unwrap());
    put().await;
    assert!(store.has_deletion("$e").await.unwrap());
    let open = store.open_deletions().await.unwrap();
    assert_eq!((open.len(), open[0].rooms, open[0].telling), (1, 2, Telling::All));
    assert_eq!(store.rooms_to_give_up().await.unwrap().len(), 2);
    assert_eq!(store.find_leaving("!one").await.unwrap().as_deref(), Some("$e"));
    assert!(give_up(&store, &one, "!one").await);
    assert!(!give_up(&store, &one, "!one").await, "it has it no more");
    assert_eq!(store.find_leaving("!one").await.unwrap(), None);
    assert_eq!(store.load_portal(one.id).await.unwrap().room, None);
    assert_eq!(store.rooms_to_give_up().await.unwrap().len(), 1);
    // A room made since is not one of them, also when the command is done again.
    store.put_new_room(&one, "!since").await.unwrap();
    put().await;
    assert_eq!(store.rooms_left_of("$e").await.unwrap(), (2, vec![]));
    store.room_is_left("!one").await.unwrap();
    store.put_off_leaving("!other", 5, 9, true).await.unwrap();
    assert_eq!(store.rooms_left_of("$e").await.unwrap(), (0, vec!["!other".to_owned()]));
    assert!(store.rooms_to_leave(true, 9).await.unwrap().is_empty(), "it is left as it is");
    store.deletion_was_told("$e", "$notice", "words").await.unwrap();
    assert_eq!(store.open_deletions().await.unwrap()[0].notice, "$notice");
    store.deletion_has_ended("$e").await.unwrap();
    assert!(store.open_deletions().await.unwrap().is_empty());
    put().await;
    assert!(store.open_deletions().await.unwrap().is_empty(), "it began anew");
    let now = store.clock().now_ms();
    assert_eq!(store.sweep_deletions(now).await.unwrap(), 0);
    assert_eq!(store.sweep_deletions(now + 1).await.unwrap(), 1);
    // One alone, whose people keep it.
    let goes_on = Farewell::GoesOn("!next".into());
    store.put_deletion("$f", Telling::Quiet, "", Doomed::Of(one.id), &goes_on).await.unwrap();
    assert!(store.rooms_to_leave(true, 9).await.unwrap().is_empty(), "it waits behind those of a command for all");
    let left = store.rooms_to_leave(false, 9).await.unwrap();
    assert_eq!((left.len(), left[0].room.as_str(), left[0].keeps_people), (1, "!since", true));
    assert_eq!(left[0].goes_on.as_deref(), Some("!next"));
    assert!(store.is_being_left("!since").await.unwrap());
    // It could not be left, is a chat's again, and is given up again.
    assert!(give_up(&store, &one, "!since").await);
    store.put_off_leaving("!since", 5, 9, true).await.unwrap();
    assert!(!store.is_being_left("!since").await.unwrap());
    store.put_new_room(&one, "!since").await.unwrap();
    store.put_deletion("$g", Telling::One, "", Doomed::Of(one.id), &Farewell::Goes).await.unwrap();
    let held = store.rooms_to_give_up().await.unwrap();
    assert_eq!((held[0].cause.as_str(), held[0].tries, held[0].portal), ("$g", 0, Some(one.id)));
    let mut tx = store.begin("test").await.unwrap();
    store.room_stays_in(&mut tx, "!since").await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.rooms_to_leave(false, 9).await.unwrap().is_empty());
}

/// What is written while the room is being given up comes before, and is forgotten with it, or is not written.
async fn at_once(store: Store) {
    let group = portal(&store, "2@g.us", PortalKind::Group).await;
    let person = GhostId::new("1@lid");
    let mut tx = store.begin("test").await.unwrap();
    store.put_group_in(&mut tx, group.id, b"facts", &[(person.clone(), 1)]).await.unwrap();
    tx.commit().await.unwrap();
    store.put_new_room(&group, "!r").await.unwrap();
    assert!(store.is_unsettled(&group).await.unwrap());
    let mut tx = store.begin("test").await.unwrap();
    assert!(store.give_up_room_in(&mut tx, &group, "!r", "next").await.unwrap());
    let writing = {
        let (store, person) = (store.clone(), person.clone());
        tokio::spawn(async move {
            store.set_membership_in_room(group.id, "!r", "@a:x", "join").await.unwrap();
            store.member_is_shown_in_room(group.id, "!r", &person, 1).await.unwrap();
        })
    };
    tokio::pin!(writing);
    // Time for what does not wait to be written.
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut writing).await;
    tx.commit().await.unwrap();
    if early.is_err() {
        writing.await.unwrap();
    }
    assert_eq!(store.find_membership(group.id, "@a:x").await.unwrap(), None);
    assert_eq!(store.members_of(group.id).await.unwrap()[0].shown, 0);
    assert!(!store.is_unsettled(&group).await.unwrap(), "the room would be made anew");
}

async fn late(store: Store) {
    let chat = portal(&store, "1@lid", PortalKind::Direct).await;
    store.put_new_room(&chat, "!r").await.unwrap();
    let key = PartKey { portal: chat.id, sender: GhostId::new("1@lid"), wa_id: WaMessageId::new("A"), part: 0 };
    let login = LoginId::new("1");
    let reservation = Reservation {
        key: &key,
        event_id: None,
        txn_id: Some("txn"),
        mx_sender: "@b:x",
        login: &login,
        ts: 1,
        kind: "new",
        body: None,
        quote: None,
    };
    assert!(store.reserve(&reservation).await.unwrap());
    assert!(give_up(&store, &chat, "!r").await);
    // The row of it is tried again behind the new room.
    store.reserve(&reservation).await.unwrap();
    let shown = async |room: &str| {
        let mut tx = store.begin("test").await.unwrap();
        let shown = store.message_was_shown_in(&mut tx, &key, "$e", (chat.id, room)).await.unwrap();
        tx.commit().await.unwrap();
        shown
    };
    assert!(!shown("!r").await, "nobody reads it there");
    store.put_new_room(&chat, "!next").await.unwrap();
    assert!(!shown("!r").await);
    assert!(shown("!next").await);
}

async fn new_room(store: Store) {
    let group = portal(&store, "2@g.us", PortalKind::Group).await;
    let mut tx = store.begin("test").await.unwrap();
    store.put_group_in(&mut tx, group.id, b"facts", &[(GhostId::new("1@lid"), 1)]).await.unwrap();
    tx.commit().await.unwrap();
    let (_, mark) = store.unsettled_groups().await.unwrap()[0];
    store.put_new_room(&group, "!r").await.unwrap();
    assert_eq!(store.unsettled_groups().await.unwrap()[0].1, mark, "the work that made it ends it");
    store.member_is_shown(group.id, &GhostId::new("1@lid"), 1).await.unwrap();
    store.group_is_shown(group.id, b"facts", mark).await.unwrap();
    store.group_is_settled(group.id, mark).await.unwrap();
    store.set_membership(group.id, "@a:x", "join").await.unwrap();
    assert!(give_up(&store, &group, "!r").await);
    assert!(store.unsettled_groups().await.unwrap().is_empty(), "another room would be made at once");
    assert_eq!(store.find_membership(group.id, "@a:x").await.unwrap(), None);
    // What was still at work on the old room has noted something.
    store.member_is_shown(group.id, &GhostId::new("1@lid"), 1).await.unwrap();
    store.group_is_shown(group.id, b"facts", mark).await.unwrap();
    store.put_new_room(&group, "!next").await.unwrap();
    assert_eq!(store.unsettled_groups().await.unwrap().len(), 1, "nobody would come into it");
    assert_eq!(store.members_of(group.id).await.unwrap()[0].shown, 0);
    assert_eq!(store.find_group(group.id).await.unwrap().unwrap().shown, b"");
    let person = GhostId::new("1@lid");
    for (room, noted) in [("!r", false), ("!next", true)] {
        store.set_membership_in_room(group.id, room, "@a:x", "join").await.unwrap();
        store.member_is_shown_in_room(group.id, room, &person, 1).await.unwrap();
        assert_eq!(store.find_membership(group.id, "@a:x").await.unwrap().is_some(), noted, "{room}");
        assert_eq!(store.members_of(group.id).await.unwrap()[0].shown == 1, noted, "{room}");
    }
}
