//! Newsletters as phones make, follow and fill them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use buffa::Message as _;
use wacore_binary::Jid;
use waproto::whatsapp::Message;

use super::Simulator;
use crate::{
    ids::{Address, Number},
    newsletters::{self, Draft, Newsletter, Post, Role},
    phone::{self, Outbound},
};

/// A post of a newsletter.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NewsletterPost {
    /// The server's id.
    pub server_id: u64,
    /// The message id.
    pub id: String,
    /// The text, if it is a text; nothing once it was taken back.
    pub text: Option<String>,
    /// What kind of file it shows (`image`, `document`, ...), as its stanza says.
    pub mediatype: Option<String>,
    /// The handle of its file, where that was uploaded for channels.
    pub media_id: Option<String>,
    /// How many gave each reaction.
    pub reactions: BTreeMap<String, usize>,
    /// How many saw it.
    pub views: usize,
}

/// A newsletter as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NewsletterInfo {
    /// Its JID.
    pub jid: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The code of its invite link.
    pub invite: String,
    /// The owner's number.
    pub owner: String,
    /// The numbers of those who follow it.
    pub followers: Vec<String>,
    /// The numbers of those who do not want to hear of its posts.
    pub muted: Vec<String>,
    /// What it says, oldest first.
    pub posts: Vec<NewsletterPost>,
}

impl Simulator {
    /// The phone of `number` makes a newsletter. Returns its JID.
    pub fn create_newsletter(&self, number: &str, name: &str, description: &str) -> Result<String> {
        let actor = phone_of(number)?;
        self.shared.with(|state| {
            state.account(&actor.number)?;
            let id = newsletters::create(state, &actor, name, description)?;
            Ok(state.newsletters.get(&id)?.jid().to_string())
        })
    }

    /// The phone of `number` follows a newsletter, or no longer.
    pub fn follow_newsletter(&self, number: &str, newsletter: &str, follow: bool) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| {
            state.account(&actor.number)?;
            if follow {
                newsletters::follow(state, &actor, &id)?;
            } else {
                newsletters::unfollow(state, &actor, &id)?;
            }
            Ok(())
        })
    }

    /// The phone of the owner gives a newsletter another name or description.
    pub fn update_newsletter(
        &self,
        number: &str,
        newsletter: &str,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| Ok(newsletters::update(state, &actor, &id, name, description)?))
    }

    /// The phone of the owner sets a newsletter's picture (JPEG bytes) or removes it.
    pub fn set_newsletter_picture(&self, number: &str, newsletter: &str, image: Option<Vec<u8>>) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| {
            newsletters::set_picture(state, &actor, &id, image)?;
            Ok(())
        })
    }

    /// The phone of `number` mutes a newsletter, or no longer.
    pub fn mute_newsletter(&self, number: &str, newsletter: &str, on: bool) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| Ok(newsletters::mute(state, &actor, &id, on)?))
    }

    /// What waits for the offline companions of `number` is lost, as after a month: only what is kept elsewhere can be
    /// fetched again.
    pub fn drop_offline(&self, number: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            for companion in state.account_mut(&number)?.companions.values_mut() {
                companion.queue.clear();
            }
            Ok(())
        })
    }

    /// The phone of the owner ends a newsletter.
    pub fn delete_newsletter(&self, number: &str, newsletter: &str) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| Ok(newsletters::delete(state, &actor, &id)?))
    }

    /// The phone of the owner changes a post, or takes it back.
    pub fn edit_post(&self, number: &str, newsletter: &str, post: &str, text: Option<&str>) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        let message = text.map(|text| Message { conversation: Some(text.to_owned()), ..Default::default() });
        let draft = Draft {
            id: post.to_owned(),
            kind: "text".into(),
            mediatype: None,
            media_id: None,
            plaintext: message.map_or_else(Vec::new, |message| message.encode_to_vec()),
        };
        self.shared.with(|state| {
            newsletters::edit(state, &actor, &id, draft)?;
            Ok(())
        })
    }

    /// The phone of `number` reacts to a post; an empty `code` takes it back.
    pub fn react_to_post(&self, number: &str, newsletter: &str, server_id: u64, code: &str) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| {
            newsletters::react(state, &actor, &id, server_id, code)?;
            Ok(())
        })
    }

    /// The phone of `number` sees posts, named by their message ids.
    pub fn view_posts(&self, number: &str, newsletter: &str, ids: &[String]) -> Result<()> {
        let (actor, id) = (phone_of(number)?, id_of(newsletter)?);
        self.shared.with(|state| newsletters::view(state, &actor.number, &id, ids));
        Ok(())
    }

    /// A newsletter as the server knows it; nothing when there is none.
    pub fn newsletter(&self, newsletter: &str) -> Option<NewsletterInfo> {
        let id = id_of(newsletter).ok()?;
        self.shared.look(|state| state.newsletters.get(&id).ok().map(info_of))
    }

    /// All newsletters.
    pub fn newsletters(&self) -> Vec<NewsletterInfo> {
        self.shared.look(|state| state.newsletters.iter().map(info_of).collect())
    }

    /// Waits until a newsletter is as `predicate` wants it.
    pub async fn wait_newsletter(
        &self,
        newsletter: &str,
        mut predicate: impl FnMut(&NewsletterInfo) -> bool,
        timeout: Duration,
    ) -> Result<NewsletterInfo> {
        let id = id_of(newsletter)?;
        self.wait(&format!("the newsletter {newsletter}"), timeout, |state| {
            state.newsletters.get(&id).ok().map(info_of).filter(|info| predicate(info))
        })
        .await
    }
}

/// Publishes a message of a phone. Errors when it is not the owner's.
pub fn publish(
    state: &mut crate::state::State,
    from: &Number,
    newsletter: &Jid,
    message: &Message,
    id: Option<String>,
) -> Result<String> {
    let id = id.unwrap_or_else(Outbound::new_id);
    let envelope = phone::Envelope::of(message);
    let draft = Draft {
        id: id.clone(),
        kind: envelope.kind.to_owned(),
        mediatype: envelope.media.map(str::to_owned),
        media_id: None,
        plaintext: message.encode_to_vec(),
    };
    newsletters::publish(state, &Address::new(from, 0), &newsletter.user, draft)?;
    Ok(id)
}

fn phone_of(number: &str) -> Result<Address> {
    Ok(Address::new(&Number::parse(number)?, 0))
}

fn id_of(text: &str) -> Result<String> {
    let jid = newsletters::named(text).with_context(|| format!("{text:?} is not a newsletter"))?;
    Ok(jid.user.to_string())
}

fn info_of(newsletter: &Newsletter) -> NewsletterInfo {
    let of = |role: Role| {
        let people = newsletter.people.iter().filter(move |(_, known)| **known == role);
        people.map(|(number, _)| number.to_string())
    };
    NewsletterInfo {
        jid: newsletter.jid().to_string(),
        name: newsletter.name.clone(),
        description: newsletter.description.clone(),
        invite: newsletter.invite.clone(),
        owner: of(Role::Owner).next().unwrap_or_default(),
        followers: of(Role::Subscriber).collect(),
        muted: newsletter.muted.iter().map(|(number, _)| number.to_string()).collect(),
        posts: newsletter.posts.iter().map(post_of).collect(),
    }
}

fn post_of(post: &Post) -> NewsletterPost {
    let message = Message::decode_from_slice(&post.plaintext).unwrap_or_default();
    let extended = || message.extended_text_message.as_option()?.text.clone();
    NewsletterPost {
        server_id: post.server_id,
        id: post.id.clone(),
        text: message.conversation.clone().or_else(extended),
        mediatype: post.mediatype.clone(),
        media_id: post.media_id.clone(),
        reactions: post.reaction_counts().into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
        views: post.viewers.len(),
    }
}
