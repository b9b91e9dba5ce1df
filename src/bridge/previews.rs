//! Previews of links that the sender's client did not give, when the operator wants them: the homeserver is asked.

use super::Bridge;
use super::outgoing::Saying;
use super::people::Halt;
use crate::convert::outgoing::{Draft, DraftContent, LinkPreview, Plan, PreviewWish, Uploaded, read_preview};
use crate::ids::WaMessageId;
use std::time::Duration;

/// How long a message waits for what the homeserver knows of a page.
const ASKING: Duration = Duration::from_secs(4);
/// How long it waits for the page's picture.
const PICTURE: Duration = Duration::from_secs(6);
/// Beginnings of addresses that clients show in their own way.
const OWN_LINKS: [&str; 2] = ["https://matrix.to/", "http://matrix.to/"];

impl Bridge {
    /// The link of a draft that is asked about; none when previews are off, or the sender gave or refused one.
    pub(super) fn asked_link<'d>(&self, draft: &'d Draft) -> Option<&'d str> {
        let DraftContent::Text { preview: PreviewWish::Unsaid(Some(link)), .. } = &draft.content else { return None };
        let is_asked = self.config().network.url_previews && !OWN_LINKS.iter().any(|own| link.starts_with(own));
        is_asked.then_some(link.as_str())
    }

    /// The plan of a message with what the homeserver shows of its link; none when it goes as it is. Never fails and
    /// takes some seconds at most.
    pub(super) async fn plan_with_link(&self, draft: &Draft) -> Option<Plan> {
        let link = self.asked_link(draft)?;
        let page = match self.matrix().preview_of(link, ASKING).await {
            Ok(page) => page,
            Err(error) => {
                tracing::debug!(%error, "a link goes without a preview");
                return None;
            }
        };
        let preview = read_preview(link, &page)?;
        let mut draft = draft.clone();
        let DraftContent::Text { preview: wish, .. } = &mut draft.content else { return None };
        *wish = PreviewWish::Given(preview);
        Some(Plan::Message(Box::new(draft)))
    }

    /// The picture of a draft's link on WhatsApp's servers; none when there is none, or not soon.
    ///
    /// # Errors
    /// [`Halt`] when the whole message has to wait.
    pub(super) async fn link_picture(
        &self,
        saying: &Saying<'_>,
        wa_id: &WaMessageId,
        draft: &Draft,
    ) -> Result<Option<Uploaded>, Halt> {
        let DraftContent::Text { preview: PreviewWish::Given(LinkPreview { picture: Some(picture), .. }), .. } =
            &draft.content
        else {
            return Ok(None);
        };
        let carried = tokio::time::timeout(PICTURE, self.carry_preview(saying, wa_id, picture)).await;
        carried.unwrap_or(Ok(None))
    }
}
