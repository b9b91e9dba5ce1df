//! What the homeserver shows of a page. It visits the page, within its own rules about addresses; the bridge never does.

use super::Matrix;
use super::client::{Pace, Who};
use super::error::Result;
use ruma::api::client::authenticated_media::get_media_preview;
use serde_json::Value;
use std::time::Duration;

impl Matrix {
    /// What the homeserver found on a page, as the client API names it (`og:title`, `og:image`, …); `null` when nothing.
    /// Asked as the bot. A failure says nothing about the homeserver: a page may be slow.
    ///
    /// # Errors
    /// When it does not tell within `limit`, or makes no previews.
    pub async fn preview_of(&self, address: &str, limit: Duration) -> Result<Value> {
        let request = get_media_preview::v1::Request::new(address.to_owned());
        let answer = self.client().ask(Who::User(self.bot()), Pace::Slow(limit), request).await?;
        Ok(answer.data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::matrix::homeserver_double::{Double, fault, fine};
    use serde_json::json;
    use std::time::Duration;

    const BOT: &str = "@whatsappbot:test.local";

    #[tokio::test]
    async fn a_page_is_asked_of_the_homeserver_and_a_failure_closes_nothing() {
        let double = Double::start().await;
        let page = json!({ "og:title": "A page", "og:image": "mxc://test.local/a" });
        double.as_user("GET", "v1/media/preview_url", BOT, fine(page.clone()), 1).await;
        let matrix = double.matrix().await;
        let limit = Duration::from_secs(5);
        assert_eq!(matrix.preview_of("https://example.com/", limit).await.unwrap(), page);
        double.server.reset().await;
        double.as_user("GET", "v1/media/preview_url", BOT, fault(502, "M_UNKNOWN"), 1).await;
        assert!(matrix.preview_of("https://example.com/", limit).await.is_err());
        double.server.reset().await;
        let slow = fine(page).set_delay(Duration::from_secs(30));
        double.as_user("GET", "v1/media/preview_url", BOT, slow, 1).await;
        assert!(matrix.preview_of("https://example.com/", Duration::from_millis(50)).await.is_err());
        tokio::time::timeout(limit, matrix.wait_until_reachable()).await.unwrap();
    }
}
