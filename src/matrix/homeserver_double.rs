//! A scripted homeserver for tests: one method per endpoint; what is not scripted answers 404 and fails the
//! test's expectations.

use super::{DEVICE, Matrix, MatrixSettings};
use crate::store::Store;
use crate::store::tests::fresh_sqlite;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockBuilder, MockServer, ResponseTemplate};

/// Settings as the tests use them.
pub(crate) fn settings(address: &str) -> MatrixSettings {
    MatrixSettings {
        address: address.into(),
        domain: "test.local".into(),
        as_token: "as-secret".into(),
        hs_token: "hs-secret".into(),
        appservice_id: "whatsapp".into(),
        bot_localpart: "whatsappbot".into(),
        ghost_prefix: "whatsapp_".into(),
        ghost_suffix: String::new(),
        alias_prefix: "whatsapp_".into(),
    }
}

/// A handle for a homeserver at `address`, with a store of its own.
pub(crate) async fn matrix_at(address: &str) -> (Matrix, Store) {
    // The store's file has to outlive the call; the tests' process removes nothing else.
    static KEPT: OnceLock<Mutex<Vec<crate::store::tests::Fresh>>> = OnceLock::new();
    let fresh = fresh_sqlite().await;
    let store = fresh.store.clone();
    KEPT.get_or_init(Mutex::default).lock().unwrap().push(fresh);
    (Matrix::new(settings(address), store.clone()).unwrap(), store)
}

/// The scripted homeserver.
pub(crate) struct Double {
    pub(crate) server: MockServer,
}

impl Double {
    pub(crate) async fn start() -> Self {
        Self { server: MockServer::start().await }
    }

    pub(crate) async fn matrix(&self) -> Matrix {
        matrix_at(&self.server.uri()).await.0
    }

    pub(crate) fn on(&self, verb: &str, at: &str) -> MockBuilder {
        Mock::given(method(verb))
            .and(path(format!("/_matrix/client/{at}")))
            .and(header("authorization", "Bearer as-secret"))
    }

    /// One answer to one request as `user` with its device.
    pub(crate) async fn with_device(&self, verb: &str, at: &str, user: &str, answer: ResponseTemplate, times: u64) {
        self.on(verb, at)
            .and(query_param("user_id", user))
            .and(query_param("device_id", DEVICE))
            .respond_with(answer)
            .expect(times)
            .mount(&self.server)
            .await;
    }

    /// One answer to one request as `user`.
    pub(crate) async fn as_user(&self, verb: &str, at: &str, user: &str, answer: ResponseTemplate, times: u64) {
        self.on(verb, at)
            .and(query_param("user_id", user))
            .respond_with(answer)
            .expect(times)
            .mount(&self.server)
            .await;
    }

    /// One look-up of an alias; ruma asks without a token, as the specification has it.
    pub(crate) async fn lookup(&self, at: &str, room: &str) {
        Mock::given(method("GET"))
            .and(path(format!("/_matrix/client/{at}")))
            .respond_with(fine(json!({ "room_id": room, "servers": [] })))
            .expect(1)
            .mount(&self.server)
            .await;
    }

    /// Bodies of the requests made to a path, oldest first.
    pub(crate) async fn bodies(&self, verb: &str, at: &str) -> Vec<Value> {
        let requests = self.server.received_requests().await.unwrap_or_default();
        requests
            .iter()
            .filter(|request| request.method.as_str() == verb)
            .filter(|request| request.url.path() == format!("/_matrix/client/{at}"))
            .map(|request| serde_json::from_slice(&request.body).unwrap_or(Value::Null))
            .collect()
    }

    /// How often each path was asked.
    pub(crate) async fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for request in self.server.received_requests().await.unwrap_or_default() {
            *counts.entry(format!("{} {}", request.method, request.url.path())).or_default() += 1;
        }
        counts
    }
}

/// A Matrix error answer.
pub(crate) fn fault(status: u16, errcode: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "errcode": errcode, "error": "said so" }))
}

/// A good answer.
pub(crate) fn fine(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}
