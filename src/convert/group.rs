//! What a group is on WhatsApp, and what its room has to look like. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest name of a room made of a group's, in characters: WhatsApp's own limit is 100.
const LONGEST_NAME: usize = 255;
/// Longest topic, in characters: WhatsApp's own limit of a description is 2,048.
const LONGEST_TOPIC: usize = 4096;

/// Everything but the people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupFacts {
    /// Its name.
    pub subject: String,
    /// Who named it last: a canonical id; empty when not told.
    pub subject_by: String,
    /// Its description; empty when there is none.
    pub description: String,
    /// Who described it last.
    pub description_by: String,
    /// Whether only admins may write.
    pub announce: bool,
    /// Whether only admins may change name, description and picture.
    pub locked: bool,
    /// Whether only admins may add people.
    pub admin_add: bool,
    /// Whether admins have to let in who comes by a link.
    pub approval: bool,
    /// After how many seconds new messages disappear; 0 = never.
    pub timer_s: u32,
    /// Whether it is a community: a roof over groups, where nobody writes.
    pub is_community: bool,
    /// The community it belongs to, a chat id; empty when none.
    pub community: String,
    /// Whether it is its community's group for announcements.
    pub is_announcement_group: bool,
    /// Whether WhatsApp has closed it.
    pub suspended: bool,
    /// Whether nobody of ours is in it any more.
    pub left: bool,
    /// Who made it: a canonical id; empty when not told.
    pub made_by: String,
    /// When, milliseconds since 1970; 0 when not told.
    pub made_at: i64,
}

/// What somebody is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not in it.
    Out,
    /// A member like most.
    Member,
    /// An admin.
    Admin,
    /// Its maker, whom other admins can't remove.
    Owner,
}

impl Role {
    /// As the database has it.
    pub fn number(self) -> i64 {
        match self {
            Self::Out => 0,
            Self::Member => 1,
            Self::Admin => 2,
            Self::Owner => 3,
        }
    }

    /// Out of the database; what is unknown is a member.
    pub fn of_number(number: i64) -> Self {
        match number {
            0 => Self::Out,
            2 => Self::Admin,
            3 => Self::Owner,
            _ => Self::Member,
        }
    }

    /// Whether they may do what admins may.
    pub fn is_admin(self) -> bool {
        self >= Self::Admin
    }

    /// The power level of the role in the room.
    pub fn power(self) -> i64 {
        match self {
            Self::Out | Self::Member => 0,
            Self::Admin => 50,
            Self::Owner => 75,
        }
    }

    /// The role a power level stands for; the bot's own is nobody's.
    pub fn of_power(power: i64) -> Self {
        match power {
            ..50 => Self::Member,
            50..75 => Self::Admin,
            75.. => Self::Owner,
        }
    }
}

impl GroupFacts {
    /// The facts as they are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Stored facts; none when there are none yet. What a later version adds is left out.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The room's name.
    pub fn name(&self) -> String {
        match self.subject.trim() {
            "" => "WhatsApp group".to_owned(),
            subject => one_line(subject, LONGEST_NAME),
        }
    }

    /// The room's topic; empty when there is none.
    pub fn topic(&self) -> String {
        self.description.chars().filter(|c| *c != '\0').take(LONGEST_TOPIC).collect()
    }

    /// What the room asks of people who want to talk, to shape the room, and to bring others in.
    pub fn rules(&self) -> RoomRules {
        let admins_if = |only_admins: bool| if only_admins { Role::Admin.power() } else { 0 };
        RoomRules {
            talk: admins_if(self.announce),
            shape: admins_if(self.locked),
            invite: admins_if(self.admin_add),
            admin: Role::Admin.power(),
        }
    }

    /// How the room is joined: with approval people may knock.
    pub fn join_rule(&self) -> &'static str {
        if self.approval { "knock" } else { "invite" }
    }
}

/// Power levels of a group's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomRules {
    /// To write.
    pub talk: i64,
    /// To change name, topic and picture.
    pub shape: i64,
    /// To invite.
    pub invite: i64,
    /// For what admins do: removing people and messages, and changing powers.
    pub admin: i64,
}

/// A power level event changed to these rules and people; what else it says stays. `users` names everybody above zero.
pub fn power_levels(now: &Value, rules: RoomRules, users: &Map<String, Value>) -> Value {
    let mut levels = now.as_object().cloned().unwrap_or_default();
    levels.insert("users".into(), users.clone().into());
    // Who is not named is nobody's admin, whatever somebody with powers has set.
    levels.insert("users_default".into(), 0.into());
    levels.insert("events_default".into(), rules.talk.into());
    levels.insert("invite".into(), rules.invite.into());
    for what in ["kick", "ban", "redact"] {
        levels.insert(what.into(), rules.admin.into());
    }
    let mut events = levels.get("events").and_then(Value::as_object).cloned().unwrap_or_default();
    for (kind, power) in shaping_events(rules) {
        events.insert(kind.into(), power.into());
    }
    levels.insert("events".into(), events.into());
    levels.into()
}

/// The powers of state that a group's people may change, too.
pub fn shaping_events(rules: RoomRules) -> [(&'static str, i64); 10] {
    [
        ("m.room.name", rules.shape),
        ("m.room.topic", rules.shape),
        ("m.room.avatar", rules.shape),
        ("m.room.power_levels", rules.admin),
        ("m.room.join_rules", rules.admin),
        // Who may not write may react, as on WhatsApp, and leave.
        ("m.reaction", 0),
        ("m.room.redaction", 0),
        ("m.room.pinned_events", rules.shape),
        ("m.beacon_info", rules.talk),
        ("org.matrix.msc3672.beacon_info", rules.talk),
    ]
}

/// A piece of state that shows nothing but a text.
pub fn text_state(key: &str, text: &str) -> Value {
    json!({ key: text })
}

/// Without line breaks and control characters, cut to `limit` characters.
fn one_line(text: &str, limit: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn settings_are_powers() {
        let open = GroupFacts::default().rules();
        assert_eq!((open.talk, open.shape, open.invite, open.admin), (0, 0, 0, 50));
        let closed = GroupFacts { announce: true, locked: true, admin_add: true, ..GroupFacts::default() }.rules();
        assert_eq!((closed.talk, closed.shape, closed.invite), (50, 50, 50));
    }

    #[test]
    fn powers_that_are_nothing_of_ours_stay() {
        let now = json!({ "state_default": 100, "events": { "m.room.tombstone": 100, "m.room.name": 0 }, "users": { "@a:b": 7 }, "users_default": 50 });
        let rules = GroupFacts { locked: true, ..GroupFacts::default() }.rules();
        let users = Map::from_iter([("@bot:b".to_owned(), json!(100))]);
        let levels = power_levels(&now, rules, &users);
        assert_eq!(levels["state_default"], 100);
        assert_eq!(levels["events"]["m.room.tombstone"], 100);
        assert_eq!(levels["events"]["m.room.name"], 50);
        assert_eq!(levels["users"], json!({ "@bot:b": 100 }));
        assert_eq!(levels["users_default"], 0);
        assert_eq!(power_levels(&levels, rules, &users), levels, "once more changes nothing");
    }

    #[test]
    fn a_name_is_one_line() {
        let facts = GroupFacts { subject: "a\nb\u{0}c".into(), ..GroupFacts::default() };
        assert_eq!(facts.name(), "a b c");
        assert_eq!(GroupFacts::default().name(), "WhatsApp group");
    }

    proptest! {
        #[test]
        fn facts_survive_the_database(subject in ".*", locked in any::<bool>(), timer_s in any::<u32>()) {
            let facts = GroupFacts { subject, locked, timer_s, ..GroupFacts::default() };
            prop_assert_eq!(GroupFacts::from_bytes(&facts.to_bytes()), Some(facts));
        }

        #[test]
        fn roles_are_their_powers(number in 1..4_i64) {
            let role = Role::of_number(number);
            prop_assert_eq!(role.number(), number);
            prop_assert_eq!(Role::of_power(role.power()), role);
        }
    }
}
