//! Channels followed, left and looked at by command.

use super::groups::{answer_room, login_of};
use super::{Call, database};
use crate::convert::channel::{ChannelFacts, Counts, Named, Told, named_in};
use crate::ids::ChatId;
use crate::matrix::error::Result;
use crate::store::logins::Login;
use crate::store::portals::{Portal, PortalKind};
use crate::whatsapp::channel_acts::ChannelFailure;

/// Posts whose counts are told when none is named.
const POSTS: i64 = 5;

/// A channel of the caller's and their login that follows it: the one that is named by link, id or name, or else the
/// room's; an answer when there is none. Most people can't write in a channel's room, so they name it elsewhere.
async fn channel_meant(call: &Call) -> Result<Option<(Portal, Login)>> {
    let store = call.bridge.store();
    if call.rest.is_empty() {
        let here = call.chat.clone().filter(|(portal, _)| portal.kind == PortalKind::Channel);
        if here.is_none() {
            call.answer("This is no channel's room; say the channel's link or name with it.").await?;
        }
        return Ok(here);
    }
    let words = call.rest.join(" ");
    for login in store.logins_of(&call.sender).await.map_err(database)? {
        for (portal, chat) in store.channels_of(&login.id).await.map_err(database)? {
            let facts = store.find_channel(portal).await.map_err(database)?.map(|row| row.facts).unwrap_or_default();
            let facts = ChannelFacts::from_bytes(&facts).unwrap_or_default();
            let is_meant = match named_in(&words) {
                Some(Named::Id(id)) => id == chat,
                Some(Named::Code(code)) => code == facts.invite,
                None => facts.title().to_lowercase() == words.to_lowercase(),
            };
            if is_meant {
                return Ok(Some((store.load_portal(portal).await.map_err(database)?, login)));
            }
        }
    }
    call.answer("You follow no such channel. Say its link or its whole name.").await?;
    Ok(None)
}

/// What a failure means, in words.
fn words_for(failure: &ChannelFailure) -> &'static str {
    match failure {
        ChannelFailure::Offline | ChannelFailure::Later(_) | ChannelFailure::Store(_) => {
            "WhatsApp can't be reached right now. Please say it again later."
        }
        ChannelFailure::Refused(401 | 403 | 405) => "WhatsApp does not let you do that.",
        ChannelFailure::Refused(_) => "WhatsApp knows no such channel, or the link is not valid any more.",
    }
}

pub(super) async fn answer_failure(call: &Call, failure: ChannelFailure) -> Result<()> {
    match failure {
        ChannelFailure::Store(error) => Err(database(error)),
        failure => call.answer(words_for(&failure)).await,
    }
}

pub(super) async fn follow(call: &Call, usage: &str) -> Result<()> {
    let Some(named) = call.rest.first().and_then(|text| named_in(text)) else {
        let text = format!("Say `{usage}`; a link looks like https://whatsapp.com/channel/0029Va….");
        return call.answer(&text).await;
    };
    let Some(login) = login_of(call).await? else { return Ok(()) };
    let chat = match call.bridge.whatsapp().find_channel(&login.id, &named).await {
        Ok(about) => ChatId::new(about.id),
        Err(failure) => return answer_failure(call, failure).await,
    };
    // Following what is followed changes nothing, so a row that is worked on again does no harm.
    if let Err(failure) = call.bridge.whatsapp().follow_channel(&login.id, &chat).await {
        return answer_failure(call, failure).await;
    }
    match call.bridge.open_channel(&login, &chat).await {
        Ok(Some(room)) => answer_room(call, Ok(room)).await,
        Ok(None) => call.answer(words_for(&ChannelFailure::Refused(404))).await,
        Err(halt) => answer_room(call, Err(halt)).await,
    }
}

pub(super) async fn unfollow(call: &Call) -> Result<()> {
    let Some((portal, login)) = channel_meant(call).await? else { return Ok(()) };
    if call.bridge.store().writes_in_channel(portal.id, &login.id).await.map_err(database)? {
        return call.answer("You are an admin of this channel. Please leave or delete it on your phone.").await;
    }
    let room = call.bridge.management_room(&call.sender).await?;
    match call.bridge.whatsapp().unfollow_channel(&login.id, &portal.chat).await {
        Ok(()) => {
            let tell = "You do not follow the channel any more.";
            call.bridge.say(&room, tell, &call.event_id, "unfollowed").await.map(drop)
        }
        Err(failure) => answer_failure(call, failure).await,
    }
}

pub(super) async fn resolve(call: &Call, login: &Login, named: &Named) -> Result<()> {
    match call.bridge.whatsapp().find_channel(&login.id, named).await {
        Ok(about) => call.answer(&describe(&about)).await,
        Err(failure) => answer_failure(call, failure).await,
    }
}

fn describe(about: &Told) -> String {
    let followers =
        if about.followers == 1 { "1 follower".to_owned() } else { format!("{} followers", about.followers) };
    let verified = if about.facts.verified { ", verified" } else { "" };
    let closed = if about.facts.closed { ", closed" } else { "" };
    let topic = about.facts.topic();
    let topic = if topic.is_empty() { String::new() } else { format!("\n\n{topic}") };
    format!("{}: a channel ({followers}{verified}{closed}){topic}", about.facts.title())
}

/// What the room's channel is, and how its posts are doing; of the post that is answered, or the newest ones.
pub(super) async fn show(call: &Call) -> Result<()> {
    let Some((portal, login)) = channel_meant(call).await? else { return Ok(()) };
    let named = Named::Id(portal.chat.as_str().to_owned());
    let about = match call.bridge.whatsapp().find_channel(&login.id, &named).await {
        Ok(about) => about,
        Err(failure) => return answer_failure(call, failure).await,
    };
    // What is known is told when they can not be read again.
    if let Err(failure) = call.bridge.whatsapp().read_posts(&login.id, &portal.chat).await {
        tracing::debug!(%failure, "the posts of a channel were not read");
    }
    let store = call.bridge.store();
    let posts = store.counted_posts(portal.id, i64::MAX).await.map_err(database)?;
    if let Some(answered) = call.reply_to.as_ref().filter(|_| call.rest.is_empty()) {
        let post = call.bridge.post_behind(&portal, answered).await.map_err(database)?;
        let Some(found) = post.and_then(|id| posts.into_iter().find(|post| post.id == id)) else {
            return call.answer("I know no counts of this message.").await;
        };
        return call.answer(&Counts::from_bytes(&found.counts).words()).await;
    }
    let mut lines = vec![describe(&about)];
    let facts = store.find_channel(portal.id).await.map_err(database)?.map(|row| row.facts).unwrap_or_default();
    lines.extend(ChannelFacts::from_bytes(&facts).and_then(|facts| facts.link()));
    let newest = usize::try_from(POSTS).unwrap_or_default();
    for (at, post) in posts.iter().take(newest).enumerate() {
        let which = if at == 0 { "The newest post".to_owned() } else { format!("{} before it", at) };
        lines.push(format!("{which}: {}", Counts::from_bytes(&post.counts).words()));
    }
    call.answer(&lines.join("\n")).await
}

/// A channel's link that was said to `join`: channels are followed.
pub(super) async fn follow_instead(call: &Call) -> Result<()> {
    let prefix = &call.bridge.config().bridge.command_prefix;
    call.answer(&format!("This is a channel's link; say `{prefix} follow` with it.")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_described_in_words() {
        let facts = ChannelFacts { name: "News".into(), description: "All of it".into(), ..ChannelFacts::default() };
        let about = Told { id: "1@newsletter".into(), facts, followers: 2, follows: false, writes: false, muted: None };
        assert_eq!(describe(&about), "News: a channel (2 followers)\n\nAll of it");
        let facts = ChannelFacts { name: "News".into(), verified: true, ..ChannelFacts::default() };
        assert_eq!(describe(&Told { facts, followers: 1, ..about }), "News: a channel (1 follower, verified)");
    }
}
