//! The people of the tests.

use whatsapp_sim::{AccountOptions, Addressing, Simulator};

use crate::client::{TestClient, start_simulator};

pub const ALICE: &str = "15550001";
pub const BOB: &str = "15550002";
pub const CAROL: &str = "15550003";
pub const DAVE: &str = "15550004";

async fn with(people: &[(&str, &str)], addressing: Addressing) -> Simulator {
    let sim = start_simulator().await;
    for (number, name) in people {
        let options = AccountOptions { push_name: (*name).into(), addressing, lid: None };
        sim.create_account_with(number, &options).unwrap();
    }
    sim
}

/// A simulator with Alice and Bob, as a new account is.
pub async fn two() -> Simulator {
    two_with(AccountOptions::default().addressing).await
}

/// A simulator with Alice and Bob, known by number or by LID.
pub async fn two_with(addressing: Addressing) -> Simulator {
    with(&[(ALICE, "Alice"), (BOB, "Bob")], addressing).await
}

/// A simulator with four accounts.
pub async fn four(addressing: Addressing) -> Simulator {
    with(&[(ALICE, "Alice"), (BOB, "Bob"), (CAROL, "Carol"), (DAVE, "Dave")], addressing).await
}

/// Alice and Bob, and a companion of Alice's with its device.
pub async fn alice_online() -> (Simulator, TestClient, u16) {
    let sim = two().await;
    let (client, device) = TestClient::pair(&sim, ALICE).await;
    (sim, client, device)
}
