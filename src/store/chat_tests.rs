//! Tests of logins, portals, ghosts and messages, on both databases.

use super::disappearing::ChatTimer;
use super::files::FileSlot;
use super::logins::{Login, Own};
use super::messages::{MessageState, PartKey, Reservation};
use super::portals::PortalKind;
use super::tests::on_both;
use super::*;
use crate::ids::{ChatId, DeviceKey, GhostId, LoginId, PortalId, WaMessageId};
use crate::store::ghosts::NameRank;
use crate::store::inbox::{Arrival, Source};
use crate::store::logins::{Farewell, LoginState, Owner};

on_both! {
    an_account_is_one_persons_until_it_is_logged_out => one_owner;
    a_closed_chat_is_never_the_new_owners => closed_chats;
    a_chat_that_several_hear_of_at_once_is_one => at_once;
    two_ids_of_a_person_become_one => join_ids;
    a_message_is_reserved_once_and_settled => reserve_once;
    names_of_files_are_kept_until_they_are_swept => file_names;
    reading_goes_forward_only => read_marks;
    a_room_is_read_with_all_that_holds_there => chat_room;
    a_worse_name_never_replaces_a_better_one => names;
    who_is_linked_again_leaves_no_group => leaves;
    identities_of_events_are_kept_and_the_others_are_swept => sweep_seen;
}

async fn at_once(store: Store) {
    for round in 0..150 {
        let put = |_| {
            let (store, chat) = (store.clone(), ChatId::new(format!("{round}@g.us")));
            tokio::spawn(async move {
                let mut tx = store.begin("test").await.unwrap();
                let kind = crate::store::portals::PortalKind::Group;
                let portal = store.find_or_make_portal_in(&mut tx, &chat, None, "", kind).await.unwrap();
                tx.commit().await.unwrap();
                portal.id
            })
        };
        let ids = futures_util::future::try_join_all((0..12).map(put)).await.unwrap();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

const ALICE: &str = "@alice:test.local";
const BOB: &str = "@bob:test.local";

fn login() -> LoginId {
    LoginId::new("491700000001")
}

fn pn() -> GhostId {
    GhostId::new("491700000002@s.whatsapp.net")
}

fn lid() -> GhostId {
    GhostId::new("100@lid")
}

async fn link(store: &Store, mxid: &str, device: &str) -> bool {
    let mut tx = store.begin("test").await.unwrap();
    store.release_login_in(&mut tx, &login(), mxid).await.unwrap();
    let own = GhostId::new("491700000001@s.whatsapp.net");
    let done = store
        .put_login_in(&mut tx, &login(), mxid, &DeviceKey::new(device), Own { lid: None, pn: &own })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    done
}

async fn portal(store: &Store, chat: &str, owner: &str) -> super::portals::Portal {
    let mut tx = store.begin("test").await.unwrap();
    let chat = ChatId::new(chat);
    let found = store.find_or_make_portal_in(&mut tx, &chat, Some(&login()), owner, PortalKind::Direct).await.unwrap();
    tx.commit().await.unwrap();
    found
}

async fn one_owner(store: Store) {
    assert!(link(&store, ALICE, "d1").await);
    assert!(link(&store, ALICE, "d2").await, "a new pairing of one's own account");
    assert!(!link(&store, BOB, "d3").await, "linked by somebody else");
    assert_eq!(store.find_login(&login()).await.unwrap().unwrap().device, DeviceKey::new("d2"));
    let (old, new) = (DeviceKey::new("d1"), DeviceKey::new("d2"));
    assert!(
        !store.log_out(&login(), &old, "late", Farewell::Removed, Owner::MustHear).await.unwrap(),
        "an old device's late word"
    );
    assert!(store.log_out(&login(), &new, "gone", Farewell::Locked, Owner::MustHear).await.unwrap());
    assert!(!store.log_out(&login(), &new, "again", Farewell::Removed, Owner::MustHear).await.unwrap());
    let untold = store.untold_logouts().await.unwrap();
    assert_eq!(untold.len(), 1);
    store.owner_was_told(&untold[0]).await.unwrap();
    assert!(store.untold_logouts().await.unwrap().is_empty());
    let out = store.find_login(&login()).await.unwrap().unwrap();
    assert_eq!(out.state, LoginState::LoggedOut { reason: "gone".into(), how: Farewell::Locked });
    assert!(link(&store, BOB, "d4").await);
    assert!(store.logins_of(ALICE).await.unwrap().is_empty());
    assert_eq!(store.logins_of(BOB).await.unwrap()[0].state, LoginState::Linked);
}

async fn closed_chats(store: Store) {
    link(&store, ALICE, "d1").await;
    let hers = portal(&store, "100@lid", ALICE).await;
    store.set_portal_room(hers.id, "!hers:test.local").await.unwrap();
    assert_eq!(portal(&store, "100@lid", ALICE).await.id, hers.id);
    store.log_out(&login(), &DeviceKey::new("d1"), "gone", Farewell::Asked, Owner::Knows).await.unwrap();
    link(&store, BOB, "d2").await;
    let his = portal(&store, "100@lid", BOB).await;
    assert_ne!(his.id, hers.id);
    assert_ne!(his.alias, hers.alias, "else her room would be adopted for him");
    assert_eq!(his.room, None);
    let closed = store.find_portal_by_room("!hers:test.local").await.unwrap().unwrap();
    assert!(store.find_login(closed.receiver.as_ref().unwrap()).await.unwrap().is_none());
    // And back, and over again: everybody finds their own room.
    for (round, (owner, expected)) in [(ALICE, &hers), (BOB, &his), (ALICE, &hers)].into_iter().enumerate() {
        let device = store.find_login(&login()).await.unwrap().unwrap().device;
        assert!(store.log_out(&login(), &device, "gone", Farewell::Asked, Owner::Knows).await.unwrap());
        assert!(link(&store, owner, &format!("again{round}")).await);
        assert_eq!(portal(&store, "100@lid", owner).await.id, expected.id);
    }
}

async fn leaves(store: Store) {
    link(&store, ALICE, "d1").await;
    let mut tx = store.begin("test").await.unwrap();
    let found = store.find_or_make_portal_in(&mut tx, &ChatId::new("1@g.us"), None, "", PortalKind::Group).await;
    let group = found.unwrap();
    store.join_portal_in(&mut tx, group.id, &login()).await.unwrap();
    tx.commit().await.unwrap();
    let is_in = async || !store.logins_in(group.id).await.unwrap().is_empty();
    store.log_out(&login(), &DeviceKey::new("d1"), "gone", Farewell::Asked, Owner::Knows).await.unwrap();
    let out = store.find_login(&login()).await.unwrap().unwrap();
    // Linked again while its rooms were emptied, it is in the group.
    link(&store, ALICE, "d2").await;
    store.leave_shared(&group, &out).await.unwrap();
    assert!(is_in().await, "the account would not be in its group");
    store.log_out(&login(), &DeviceKey::new("d2"), "gone", Farewell::Asked, Owner::Knows).await.unwrap();
    let other = Login { since: out.since - 1, ..out.clone() };
    store.leave_shared(&group, &other).await.unwrap();
    assert!(is_in().await, "of another logout");
    store.leave_shared(&group, &out).await.unwrap();
    assert!(!is_in().await);
}

async fn join_ids(store: Store) {
    link(&store, ALICE, "d1").await;
    let before = portal(&store, pn().as_str(), ALICE).await;
    let ghost = store.find_or_make_ghost(&pn(), "491700000002").await.unwrap();
    let key = PartKey { portal: before.id, sender: pn(), wa_id: WaMessageId::new("A"), part: 0 };
    assert!(store.reserve(&reservation(&key)).await.unwrap());
    let mut tx = store.begin("test").await.unwrap();
    assert!(store.put_alias_in(&mut tx, &pn(), &lid()).await.unwrap());
    assert!(!store.put_alias_in(&mut tx, &pn(), &lid()).await.unwrap(), "it is no news any more");
    store.join_ids_in(&mut tx, &pn(), &lid()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(portal(&store, lid().as_str(), ALICE).await.id, before.id, "one room");
    let joined = store.find_ghost(&lid()).await.unwrap().unwrap();
    assert_eq!(joined.localpart, ghost.localpart, "one ghost, and its name on the homeserver stays");
    assert!(store.find_ghost(&pn()).await.unwrap().is_none());
    let moved = PartKey { sender: lid(), ..key };
    assert!(!store.reserve(&reservation(&moved)).await.unwrap(), "one message under both ids is one message");
    assert_eq!(store.find_pn(&lid()).await.unwrap(), Some(pn()));
}

fn reservation(key: &PartKey) -> Reservation<'_> {
    const TXN: &str = "wa-1";
    static LOGIN: std::sync::LazyLock<LoginId> = std::sync::LazyLock::new(login);
    Reservation {
        key,
        event_id: None,
        txn_id: Some(TXN),
        mx_sender: "@ghost:test.local",
        login: &LOGIN,
        ts: 1000,
        kind: "new",
        body: None,
        quote: None,
    }
}

async fn reserve_once(store: Store) {
    link(&store, ALICE, "d1").await;
    let portal = portal(&store, "100@lid", ALICE).await;
    let key = PartKey { portal: portal.id, sender: lid(), wa_id: WaMessageId::new("A"), part: 0 };
    assert!(store.reserve(&reservation(&key)).await.unwrap());
    assert!(!store.reserve(&reservation(&key)).await.unwrap());
    assert_eq!(store.find_message(&key).await.unwrap().unwrap().state, MessageState::Reserved);
    let mut tx = store.begin("test").await.unwrap();
    store.message_was_sent_in(&mut tx, &key, Some("$e")).await.unwrap();
    tx.commit().await.unwrap();
    store.message_has_failed(&key).await.unwrap();
    let sent = store.find_message_by_event("$e").await.unwrap().unwrap();
    assert_eq!(sent.state, MessageState::Sent, "what arrived can not fail any more");
    assert!(!sent.from_matrix);
    assert_eq!(store.find_message_by_wa_id(portal.id, &key.wa_id).await.unwrap().unwrap().key, key);
}

async fn chat_room(store: Store) {
    link(&store, ALICE, "d1").await;
    assert!(store.find_chat_room("!r", "").await.unwrap().is_none());
    let portal = portal(&store, lid().as_str(), ALICE).await;
    store.set_portal_room(portal.id, "!r").await.unwrap();
    let find = async |event| store.find_chat_room("!r", event).await.unwrap().unwrap();
    let plain = find("$e").await;
    assert_eq!((plain.portal.id, plain.login.map(|login| login.id)), (portal.id, Some(login())));
    assert_eq!((plain.timer, plain.is_blocked, plain.given_up_at, plain.is_begun), (None, false, None, false));
    let timer = ChatTimer { seconds: 60, set_at: 1000 };
    let mut tx = store.begin("test").await.unwrap();
    store.put_timer_in(&mut tx, portal.id, timer).await.unwrap();
    store.put_former_room_in(&mut tx, "!r").await.unwrap();
    store.put_alias_in(&mut tx, &pn(), &lid()).await.unwrap();
    tx.commit().await.unwrap();
    // Under their other id.
    store.put_blocked(&login(), &pn(), true).await.unwrap();
    let key = PartKey { portal: portal.id, sender: pn(), wa_id: WaMessageId::new("A"), part: 0 };
    let begun = Reservation { event_id: Some("$e"), txn_id: None, ..reservation(&key) };
    assert!(store.reserve(&begun).await.unwrap());
    let full = find("$e").await;
    assert_eq!((full.timer, full.is_blocked, full.is_begun), (Some(timer), true, true));
    assert!(full.given_up_at.is_some());
    let other = find("$other").await;
    assert!(!other.is_begun && other.is_blocked);
}

async fn file_names(store: Store) {
    let key = PartKey { portal: PortalId::new(1), sender: lid(), wa_id: WaMessageId::new("A"), part: 0 };
    assert_eq!(store.find_file_name(&key, FileSlot::File).await.unwrap(), None);
    store.keep_file_name(&key, FileSlot::File, "mxc://a/1").await.unwrap();
    store.keep_file_name(&key, FileSlot::Thumbnail, "mxc://a/2").await.unwrap();
    let other = PartKey { part: 1, ..key.clone() };
    let file_of = async |key| store.find_file_name(key, FileSlot::File).await.unwrap();
    assert_eq!(file_of(&key).await.as_deref(), Some("mxc://a/1"));
    assert_eq!(file_of(&other).await, None);
    store.keep_file_name(&key, FileSlot::File, "mxc://a/3").await.unwrap();
    assert_eq!(file_of(&key).await.as_deref(), Some("mxc://a/3"), "an expired one is forgotten");
    assert_eq!(store.sweep_file_names(store.clock().now_ms() - 60_000).await.unwrap(), 0);
    assert_eq!(store.sweep_file_names(store.clock().now_ms() + 60_000).await.unwrap(), 2);
}

async fn read_marks(store: Store) {
    link(&store, ALICE, "d1").await;
    let portal = portal(&store, "100@lid", ALICE).await;
    let mut tx = store.begin("test").await.unwrap();
    store.join_portal_in(&mut tx, portal.id, &login()).await.unwrap();
    let key = PartKey { portal: portal.id, sender: lid(), wa_id: WaMessageId::new("A"), part: 0 };
    tx.commit().await.unwrap();
    store.reserve(&reservation(&key)).await.unwrap();
    let mut tx = store.begin("test").await.unwrap();
    store.message_was_sent_in(&mut tx, &key, Some("$e")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.advance_read_mark(portal.id, &login(), 1000).await.unwrap());
    assert!(!store.advance_read_mark(portal.id, &login(), 1000).await.unwrap());
    assert!(!store.advance_read_mark(portal.id, &login(), 900).await.unwrap());
    assert!(store.unread_until(portal.id, 999).await.unwrap().is_empty());
    assert_eq!(store.unread_until(portal.id, 1000).await.unwrap().len(), 1);
    for unread in store.unread_until(portal.id, 1000).await.unwrap() {
        store.message_was_read(portal.id, &unread).await.unwrap();
    }
    assert!(store.unread_until(portal.id, 1000).await.unwrap().is_empty());
}

async fn names(store: Store) {
    store.find_or_make_ghost(&lid(), "lid-100").await.unwrap();
    assert!(store.want_name(&lid(), "+49 (WA)", NameRank::Number).await.unwrap());
    assert!(store.want_name(&lid(), "Ann (WA)", NameRank::Push).await.unwrap());
    assert!(!store.want_name(&lid(), "+49 (WA)", NameRank::Number).await.unwrap());
    assert!(!store.want_name(&lid(), "Ann (WA)", NameRank::Push).await.unwrap());
    assert!(store.want_name(&lid(), "Anne (WA)", NameRank::Push).await.unwrap(), "people rename themselves");
    store.name_was_set(&lid(), "Ann (WA)").await.unwrap();
    assert!(!store.find_ghost(&lid()).await.unwrap().unwrap().name_set, "an older name was set meanwhile");
}

async fn sweep_seen(store: Store) {
    let events = [store.derive().mx_dedup(&["event", "$1"]), store.derive().mx_dedup(&["receipt", "!r", "@a", "$1"])];
    let mut tx = store.begin("test").await.unwrap();
    for dedup in &events {
        let arrival = Arrival {
            dedup: dedup.clone(),
            lane: crate::ids::Lane::new("x"),
            source: Source::Matrix,
            login: None,
            portal: None,
            kind: "event",
            body: vec![],
            seq: None,
        };
        assert!(store.put_arrival(&mut tx, &arrival).await.unwrap());
    }
    tx.commit().await.unwrap();
    assert_eq!(store.sweep_seen(store.clock().now_ms() + 1).await.unwrap(), 1);
    assert!(store.was_seen(&events[0]).await.unwrap());
    assert!(!store.was_seen(&events[1]).await.unwrap());
}
