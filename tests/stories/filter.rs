//! Which chats get rooms, by an administrator's filter.

use anyhow::{Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::wait;
use matrix_bed::world::World;

use super::groups::{Scene, ghost, scene};
use super::people::set_level;
use super::portals::{wait_joined, wait_said};

matrix_bed::stories! {
    shared {
        a_filter_decides_which_chats_get_rooms
    }
}

async fn count_rooms(world: &World) -> Result<i64> {
    world.database.number("SELECT COUNT(*) FROM portal WHERE room_id IS NOT NULL").await
}

/// Waits until everything that came from WhatsApp is settled.
async fn wait_settled(world: &World) -> Result<()> {
    wait::until("nothing waits", wait::STEP, || async {
        let waiting = world.database.number("SELECT COUNT(*) FROM inbox WHERE source = 'wa'").await?;
        Ok((waiting == 0).then_some(()))
    })
    .await?;
    world.bridge.wait_idle().await
}

async fn a_filter_decides_which_chats_get_rooms(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, alices) = (world.management(&root).await?, world.management(&alice).await?);
    alices.ask("filter", "may not use this command").await?;
    alices.ask("filter off", "may not use this command").await?;
    roots.ask("filter", "filter is off").await?;
    for wrong in ["filter on", "filter deny choir", "filter remove"] {
        roots.ask(wrong, "Say `filter").await?;
    }
    // One by its LID, one by its number; what has a room keeps it.
    world.phones.send(&bob.number, &account.number, "before the filter").await?;
    let kept = wait_said(&alice, "before the filter").await?.room;
    roots.ask(&format!("filter deny {}@lid +{}", bob.lid, carol.number), "but these (2)").await?;
    world.phones.send(&bob.number, &account.number, "still in its room").await?;
    ensure!(wait_said(&alice, "still in its room").await?.room == kept, "another room");
    world.phones.send(&carol.number, &account.number, "into no room").await?;
    let dave = world.phones.create_account("dave")?;
    world.phones.send(&dave.number, &account.number, "dave is welcome").await?;
    wait_said(&alice, "dave is welcome").await?;
    wait_settled(world).await?;
    ensure!(count_rooms(world).await? == 2, "there are {} rooms", count_rooms(world).await?);
    let failed = world.database.number("SELECT COUNT(*) FROM inbox WHERE state = 'failed'").await?;
    ensure!(failed == 0, "{failed} rows count as failed");
    alices.ask("status", "Nothing has failed").await?;
    alices.ask(&format!("start-chat +{}", carol.number), "lets no room be made").await?;
    alices.ask(&format!("create-portal {}@lid", carol.lid), "lets no room be made").await?;
    // It stays so over a start; groups too.
    world.bridge.restart().await?;
    roots.ask("filter", "but these (2)").await?;
    roots.ask("filter allow", "lets no new chat have a room").await?;
    let group = Group::create(&world.phones, &bob, "Choir", &[&account, &carol])?;
    world.phones.send(&bob.number, &group.jid, "unheard").await?;
    wait_settled(world).await?;
    ensure!(count_rooms(world).await? == 2, "the group has a room");
    // Let in, its next message makes one, with its people.
    roots.ask(&format!("filter allow {}", group.jid), "Only these chats get a room (1)").await?;
    world.phones.send(&bob.number, &group.jid, "heard").await?;
    let room = wait_said(&alice, "heard").await?.room;
    wait_joined(&alice, &room).await?;
    for friend in [&bob, &carol] {
        alice.wait_member(&room, &ghost(world, friend), "join").await?;
    }
    let said = alice.history(&room).await?;
    ensure!(said.iter().all(|event| event.body() != "unheard"), "what was not let in came later");
    roots.ask(&format!("filter remove {}", group.jid), "lets no new chat have a room").await?;
    roots.ask("filter off", "filter is off").await?;
    world.phones.send(&carol.number, &account.number, "at last").await?;
    wait_said(&alice, "at last").await.map(drop)
}
