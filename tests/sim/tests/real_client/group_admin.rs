//! Groups and what else is more than a chat, by the admin API.

use serde_json::{Value, json};
use whatsapp_sim::Addressing;

use crate::{
    admin::{get, post},
    client::assert_understood,
    people::{ALICE, BOB, CAROL, DAVE, four},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_makes_and_changes_groups() {
    let sim = four(Addressing::Lid).await;
    let done = |(status, answer): (u16, Value)| {
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let new = json!({ "number": ALICE, "subject": "Friends", "members": [BOB, CAROL], "addressing": "pn" });
    let made = done(post(&sim, "groups", new).await);
    let group = made["jid"].as_str().unwrap();
    let act = |extra: Value| {
        let mut body = json!({ "number": ALICE, "group": group });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let people = |action: &str, who: &str| act(json!({ "action": action, "people": [who] }));
    let results = done(post(&sim, "groups/participants", people("add", DAVE)).await);
    assert_eq!(results["results"][0]["code"], json!(200));
    done(post(&sim, "groups/participants", people("promote", BOB)).await);
    done(post(&sim, "groups/participants", people("remove", CAROL)).await);
    done(post(&sim, "groups/set", act(json!({ "subject": "Best friends" }))).await);
    done(post(&sim, "groups/set", act(json!({ "description": "All of us" }))).await);
    for setting in ["announcement", "locked", "ephemeral:604800", "approval", "admin_add"] {
        done(post(&sim, "groups/set", act(json!({ "setting": setting }))).await);
    }
    done(post(&sim, "groups/picture", act(json!({ "image": "/9g=" }))).await);
    let sent = done(post(&sim, "send", json!({ "from": BOB, "to": group, "text": "hello" })).await);
    let inbox = done(get(&sim, &format!("inbox/{DAVE}")).await);
    assert_eq!((&inbox[0]["id"], &inbox[0]["chat"]), (&sent["id"], &json!(group)));
    assert_eq!(inbox[0]["from"], json!("15550002@s.whatsapp.net"));
    let ids = json!({ "number": DAVE, "chat": group, "ids": [sent["id"]] });
    done(post(&sim, "read", ids).await);
    let receipts = done(get(&sim, &format!("receipts/{BOB}")).await);
    let read = receipts.as_array().unwrap().iter().find(|receipt| receipt["kind"] == "read").unwrap();
    assert_eq!((&read["from"], &read["recipient"]), (&json!(DAVE), &json!(group)));

    // By the link, with an approval.
    let code = done(post(&sim, "groups/invite", act(json!({}))).await);
    done(post(&sim, "groups/set", act(json!({ "setting": "approval" }))).await);
    sim.create_account("15550005", "Eve").unwrap();
    let asked = done(post(&sim, "groups/join", json!({ "number": "15550005", "code": code["code"] })).await);
    assert_eq!(asked["joined"], json!(false));
    let approve = act(json!({ "approve": true, "people": ["15550005"] }));
    assert_eq!(done(post(&sim, "groups/requests", approve).await)["results"][0]["code"], json!(200));
    done(post(&sim, "groups/leave", json!({ "number": DAVE, "group": group })).await);

    let info = done(get(&sim, &format!("groups/{group}")).await);
    let roles: Vec<(&str, &str)> = info["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["number"].as_str().unwrap(), member["role"].as_str().unwrap()))
        .collect();
    assert_eq!(roles, [(ALICE, "superadmin"), (BOB, "admin"), ("15550005", "member")]);
    assert_eq!(info["subject"], json!("Best friends"));
    assert_eq!(info["description"], json!("All of us"));
    assert_eq!(info["addressing"], json!("pn"));
    for (name, value) in [("announce", json!(true)), ("locked", json!(true)), ("ephemeral", json!(604_800))] {
        assert_eq!(info[name], value, "{name}");
    }
    assert!(info["picture"].is_string());
    assert_eq!(done(get(&sim, "groups").await).as_array().unwrap().len(), 1);

    // What may not be is refused with a reason.
    for (path, body) in [
        ("groups", json!({ "number": ALICE, "subject": "" })),
        ("groups/participants", json!({ "number": "15550005", "group": group, "action": "remove", "people": [BOB] })),
        ("groups/participants", people("bless", BOB)),
        ("groups/set", act(json!({}))),
        ("groups/set", act(json!({ "setting": "nonsense" }))),
        ("groups/set", json!({ "number": ALICE, "group": "1@g.us", "subject": "?" })),
        ("groups/join", json!({ "number": DAVE, "code": "nonsense" })),
        ("groups/picture", act(json!({ "image": "?" }))),
        ("send", json!({ "from": DAVE, "to": group, "text": "?" })),
    ] {
        let (status, answer) = post(&sim, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body} {answer}");
        assert!(answer["error"].is_string());
    }
    assert_eq!(get(&sim, "groups/1@g.us").await.0, 400);
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_does_communities_calls_status_and_newsletters() {
    let sim = four(Addressing::Lid).await;
    let done = |(status, answer): (u16, Value)| {
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let new = json!({ "number": ALICE, "subject": "Village", "community": true });
    let village = done(post(&sim, "groups", new).await)["jid"].clone();
    let choir = done(post(&sim, "groups", json!({ "number": ALICE, "subject": "Choir", "members": [BOB] })).await);
    let links = json!({ "number": ALICE, "community": village, "groups": [choir["jid"]], "link": true });
    assert_eq!(done(post(&sim, "groups/links", links).await)["results"][0]["code"], json!(200));
    let walks = json!({ "number": ALICE, "subject": "Walks", "parent": village });
    done(post(&sim, "groups", walks).await);
    let all = done(get(&sim, "groups").await);
    let parents: Vec<&Value> =
        all.as_array().unwrap().iter().filter(|group| group["parent"] == village).map(|g| &g["subject"]).collect();
    assert_eq!(parents, [&json!("Village"), &json!("Choir"), &json!("Walks")]);
    done(post(&sim, "groups/deactivate", json!({ "number": ALICE, "group": village })).await);
    assert_eq!(done(get(&sim, "groups").await).as_array().unwrap().len(), 2);

    let call = done(post(&sim, "calls", json!({ "from": BOB, "to": ALICE, "video": true })).await)["id"].clone();
    done(post(&sim, "calls/act", json!({ "number": ALICE, "id": call, "action": "accept" })).await);
    let calls = done(get(&sim, "calls").await);
    assert_eq!((&calls[0]["state"], &calls[0]["video"]), (&json!("accepted"), &json!(true)));
    assert_eq!(post(&sim, "calls/act", json!({ "number": DAVE, "id": call, "action": "reject" })).await.0, 400);

    let status = json!({ "from": BOB, "audience": [ALICE, CAROL], "text": "a status" });
    done(post(&sim, "status", status).await);
    let list = done(post(&sim, "lists", json!({ "number": BOB, "people": [ALICE, CAROL] })).await);
    done(post(&sim, "send", json!({ "from": BOB, "to": list["jid"], "text": "to the list" })).await);
    let inbox = done(get(&sim, &format!("inbox/{CAROL}")).await);
    let chats: Vec<&Value> = inbox.as_array().unwrap().iter().map(|item| &item["chat"]).collect();
    assert_eq!(chats, [&json!("status@broadcast"), &json!("15550002@s.whatsapp.net")]);
    assert_eq!(inbox[0]["text"], json!("a status"));

    let made = done(post(&sim, "newsletters", json!({ "number": ALICE, "name": "News" })).await);
    let news = made["jid"].as_str().unwrap();
    let act = |number: &str, extra: Value| {
        let mut body = json!({ "number": number, "newsletter": news });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    done(post(&sim, "newsletters/follow", act(BOB, json!({}))).await);
    let sent = done(post(&sim, "send", json!({ "from": ALICE, "to": news, "text": "a post" })).await);
    done(post(&sim, "newsletters/react", act(BOB, json!({ "server_id": 100, "code": "👍" }))).await);
    done(post(&sim, "newsletters/view", act(BOB, json!({ "ids": [sent["id"]] }))).await);
    done(post(&sim, "newsletters/edit", act(ALICE, json!({ "post": sent["id"], "text": "the post" }))).await);
    done(post(&sim, "newsletters/update", act(ALICE, json!({ "name": "Newer" }))).await);
    let info = done(get(&sim, &format!("newsletters/{news}")).await);
    assert_eq!((&info["name"], &info["followers"]), (&json!("Newer"), &json!([BOB])));
    let post_info = &info["posts"][0];
    assert_eq!((&post_info["text"], &post_info["views"]), (&json!("the post"), &json!(1)));
    assert_eq!(post_info["reactions"], json!({ "👍": 1 }));
    assert_eq!(post(&sim, "newsletters/update", act(BOB, json!({ "name": "Mine" }))).await.0, 400);
    done(post(&sim, "newsletters/delete", act(ALICE, json!({}))).await);
    assert_eq!(done(get(&sim, "newsletters").await), json!([]));
    assert_understood(&sim);
}
