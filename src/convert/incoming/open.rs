//! Taking a message out of its wrappers, and whom it names.

use crate::convert::part::person_jid;
use std::collections::HashSet;
use whatsapp_rust::prelude::{Jid, MessageField, wa};

/// Wrappers inside each other; the phone makes up to four.
const MAX_WRAPPERS: usize = 8;
/// People asked for at most: the largest group has 1,024 members.
const MAX_PEOPLE: usize = 1_100;

/// A message without its wrappers, and what they said.
pub(super) struct Opened<'m> {
    /// The message inside.
    pub base: &'m wa::Message,
    /// It may be looked at once.
    pub view_once: bool,
    /// It was marked as giving something away.
    pub spoiler: bool,
    /// A status of a group.
    pub group_status: bool,
    /// A sticker of the kind that is a drawing.
    pub lottie: bool,
    /// What it belongs to.
    pub association: Option<&'m wa::MessageAssociation>,
}

/// Opens the wrappers.
pub(super) fn open(message: &wa::Message) -> Opened<'_> {
    let mut opened = Opened {
        base: message,
        view_once: false,
        spoiler: false,
        group_status: false,
        lottie: false,
        association: None,
    };
    for _ in 0..MAX_WRAPPERS {
        let here = opened.base;
        opened.association = here.message_context_info.message_association.as_option().or(opened.association);
        opened.view_once |= here.view_once_message.is_set()
            || here.view_once_message_v2.is_set()
            || here.view_once_message_v2_extension.is_set();
        opened.lottie |= here.lottie_sticker_message.is_set();
        opened.spoiler |= here.spoiler_message.is_set();
        opened.group_status |= here.group_status_message.is_set() || here.group_status_message_v2.is_set();
        match inner(here) {
            Some(inner) => opened.base = inner,
            None => break,
        }
    }
    let base = opened.base;
    opened.view_once |= [
        base.image_message.view_once,
        base.video_message.view_once,
        base.ptv_message.view_once,
        base.audio_message.view_once,
        base.extended_text_message.view_once,
    ]
    .contains(&Some(true));
    opened
}

/// The message inside of the outermost wrapper.
fn inner(message: &wa::Message) -> Option<&wa::Message> {
    if let Some(sent) = message.device_sent_message.as_option().and_then(|sent| sent.message.as_option()) {
        return Some(sent);
    }
    let wrappers: [&MessageField<wa::message::FutureProofMessage>; 27] = [
        &message.ephemeral_message,
        &message.view_once_message,
        &message.view_once_message_v2,
        &message.view_once_message_v2_extension,
        &message.document_with_caption_message,
        &message.edited_message,
        &message.group_mentioned_message,
        &message.bot_invoke_message,
        &message.lottie_sticker_message,
        &message.event_cover_image,
        &message.status_mention_message,
        &message.poll_creation_option_image_message,
        &message.associated_child_message,
        &message.group_status_mention_message,
        &message.poll_creation_message_v4,
        &message.status_add_yours,
        &message.group_status_message,
        &message.group_status_message_v2,
        &message.limit_sharing_message,
        &message.bot_task_message,
        &message.question_message,
        &message.bot_forwarded_message,
        &message.question_reply_message,
        &message.newsletter_admin_profile_message,
        &message.newsletter_admin_profile_message_v2,
        &message.newsletter_admin_profile_status_message,
        &message.spoiler_message,
    ];
    wrappers.iter().find_map(|wrapper| wrapper.as_option().and_then(|wrapper| wrapper.message.as_option()))
}

/// The first context among the kinds that carry one.
pub(super) fn context_of(base: &wa::Message) -> Option<&wa::ContextInfo> {
    macro_rules! first {
        ($($field:ident),+ $(,)?) => {
            None$(.or_else(|| base.$field.as_option().and_then(|kind| kind.context_info.as_option())))+
        };
    }
    first!(
        extended_text_message,
        image_message,
        video_message,
        ptv_message,
        audio_message,
        document_message,
        sticker_message,
        location_message,
        live_location_message,
        contact_message,
        contacts_array_message,
        poll_creation_message,
        poll_creation_message_v2,
        poll_creation_message_v3,
        poll_creation_message_v5,
        poll_creation_message_v6,
        poll_result_snapshot_message,
        poll_result_snapshot_message_v3,
        event_message,
        event_invite_message,
        group_invite_message,
        newsletter_admin_invite_message,
        newsletter_follower_invite_message_v2,
        buttons_message,
        buttons_response_message,
        list_message,
        list_response_message,
        template_message,
        template_button_reply_message,
        interactive_message,
        interactive_response_message,
        product_message,
        order_message,
        album_message,
        sticker_pack_message,
        request_phone_number_message,
        rich_response_message,
        call,
        message_history_notice,
        split_payment_message,
    )
}

/// Everybody whose Matrix id and name reading the message asks for, each once.
pub fn people_in(message: &wa::Message) -> Vec<Jid> {
    let mut found = People::default();
    found.of(message, 0);
    found.list
}

#[derive(Default)]
struct People {
    list: Vec<Jid>,
    seen: HashSet<Jid>,
}

impl People {
    fn add(&mut self, jid: Option<&String>) {
        let Some(jid) = jid.and_then(|jid| person_jid(jid)) else { return };
        if self.list.len() < MAX_PEOPLE && self.seen.insert(jid.clone()) {
            self.list.push(jid);
        }
    }

    fn of(&mut self, message: &wa::Message, depth: usize) {
        let base = open(message).base;
        if let Some(info) = context_of(base) {
            self.add(info.participant.as_ref());
            info.mentioned_jid.iter().for_each(|jid| self.add(Some(jid)));
            // A quote that is not in the room is shown with the names it mentions.
            if let Some(quoted) = info.quoted_message.as_option()
                && let Some(quoted) = context_of(open(quoted).base)
            {
                quoted.mentioned_jid.iter().for_each(|jid| self.add(Some(jid)));
            }
        }
        base.call_log_messsage.participants.iter().for_each(|one| self.add(one.jid.as_ref()));
        self.add(base.order_message.seller_jid.as_ref());
        self.add(base.request_payment_message.request_from.as_ref());
        if depth < 3 {
            let inside = [
                base.protocol_message.edited_message.as_option(),
                base.comment_message.message.as_option(),
                base.send_payment_message.note_message.as_option(),
                base.request_payment_message.note_message.as_option(),
            ];
            inside.into_iter().flatten().for_each(|message| self.of(message, depth + 1));
        }
    }
}
