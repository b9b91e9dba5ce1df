//! Newsletters: `/admin/newsletters`.

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Path, State as Extract},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, answer, parse};
use crate::simulator::Simulator;

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/newsletters", post(create).get(list))
        .route("/admin/newsletters/{jid}", get(show))
        .route("/admin/newsletters/follow", post(follow))
        .route("/admin/newsletters/update", post(update))
        .route("/admin/newsletters/delete", post(delete))
        .route("/admin/newsletters/picture", post(picture))
        .route("/admin/newsletters/mute", post(mute))
        .route("/admin/newsletters/edit", post(edit))
        .route("/admin/newsletters/react", post(react))
        .route("/admin/newsletters/view", post(view))
}

#[derive(Deserialize)]
struct New {
    number: String,
    name: String,
    #[serde(default)]
    description: String,
}

async fn create(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let new: New = parse(&body)?;
    let made = sim.create_newsletter(&new.number, &new.name, &new.description);
    answer(made.map(|jid| json!({ "jid": jid })))
}

async fn list(Extract(sim): Extract<Simulator>) -> Json<Value> {
    Json(json!(sim.newsletters()))
}

async fn show(Extract(sim): Extract<Simulator>, Path(jid): Path<String>) -> Answer {
    answer(sim.newsletter(&jid).map(|found| json!(found)).with_context(|| format!("no newsletter {jid}")))
}

/// What is done to a newsletter; each route reads what it needs.
#[derive(Deserialize)]
struct Act {
    number: String,
    newsletter: String,
    /// False to stop following.
    #[serde(default = "yes")]
    follow: bool,
    name: Option<String>,
    description: Option<String>,
    /// The message id of a post.
    #[serde(default)]
    post: String,
    /// None takes a post back.
    text: Option<String>,
    #[serde(default)]
    server_id: u64,
    #[serde(default)]
    code: String,
    #[serde(default)]
    ids: Vec<String>,
    /// A picture as base64; none removes it.
    image: Option<String>,
    /// False to hear of posts again.
    #[serde(default = "yes")]
    mute: bool,
}

fn yes() -> bool {
    true
}

fn done(result: anyhow::Result<()>) -> Answer {
    answer(result.map(|()| json!({})))
}

async fn follow(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.follow_newsletter(&act.number, &act.newsletter, act.follow))
}

async fn update(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.update_newsletter(&act.number, &act.newsletter, act.name.as_deref(), act.description.as_deref()))
}

async fn delete(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.delete_newsletter(&act.number, &act.newsletter))
}

async fn picture(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    let image = act.image.map(|image| BASE64_STANDARD.decode(image)).transpose().context("image");
    done(image.and_then(|image| sim.set_newsletter_picture(&act.number, &act.newsletter, image)))
}

async fn mute(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.mute_newsletter(&act.number, &act.newsletter, act.mute))
}

async fn edit(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.edit_post(&act.number, &act.newsletter, &act.post, act.text.as_deref()))
}

async fn react(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.react_to_post(&act.number, &act.newsletter, act.server_id, &act.code))
}

async fn view(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    done(sim.view_posts(&act.number, &act.newsletter, &act.ids))
}
