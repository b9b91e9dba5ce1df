//! What the page's forms do.

use anyhow::{Context as _, Result};
use axum::{
    extract::{Path, Query, State as Extract},
    http::Uri,
    response::Redirect,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::html::query;
use crate::simulator::Simulator;

/// Reads the body of a form; it is written like the query of an address.
fn read<T: DeserializeOwned>(body: &str) -> Result<T> {
    let uri: Uri = format!("/?{body}").parse().context("the form")?;
    let Query(form) = Query::try_from_uri(&uri)?;
    Ok(form)
}

/// Back to where the form was, with what went wrong.
fn back(to: &str, done: Result<()>) -> Redirect {
    match done {
        Ok(()) => Redirect::to(to),
        Err(error) => {
            let joint = if to.contains('?') { '&' } else { '?' };
            Redirect::to(&format!("{to}{joint}error={}", query(&format!("{error:#}"))))
        }
    }
}

#[derive(Deserialize)]
struct NewAccount {
    number: String,
    name: String,
}

pub async fn create(Extract(sim): Extract<Simulator>, body: String) -> Redirect {
    let create = || {
        let new: NewAccount = read(&body)?;
        sim.create_account(&new.number, &new.name).map(|_| ())
    };
    back("/", create())
}

#[derive(Deserialize)]
struct Send {
    to: String,
    text: String,
}

pub async fn send(Extract(sim): Extract<Simulator>, Path(number): Path<String>, body: String) -> Redirect {
    let form: Send = match read(&body) {
        Ok(form) => form,
        Err(error) => return back(&here(&number), Err(error)),
    };
    let sent = sim.send_text(&number, &form.to, &form.text).await;
    back(&format!("{}?chat={}", here(&number), query(&form.to)), sent.map(|_| ()))
}

#[derive(Deserialize)]
struct Scan {
    qr: String,
}

pub async fn scan(Extract(sim): Extract<Simulator>, Path(number): Path<String>, body: String) -> Redirect {
    let scanned = match read::<Scan>(&body) {
        Ok(form) => sim.scan(&number, form.qr.trim()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    back(&here(&number), scanned)
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

pub async fn code(Extract(sim): Extract<Simulator>, Path(number): Path<String>, body: String) -> Redirect {
    let linked = match read::<Code>(&body) {
        Ok(form) => sim.enter_pair_code(&number, form.code.trim()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    back(&here(&number), linked)
}

#[derive(Deserialize)]
struct Unlink {
    device: u16,
}

pub async fn unlink(Extract(sim): Extract<Simulator>, Path(number): Path<String>, body: String) -> Redirect {
    let done = read::<Unlink>(&body).and_then(|form| sim.unlink(&number, form.device));
    back(&here(&number), done)
}

fn here(number: &str) -> String {
    format!("/phone/{}", query(number))
}
