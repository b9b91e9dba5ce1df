//! Rules: what goes wrong with which stanzas, how often, how likely.

use std::time::Duration;

use anyhow::{Result, bail};
use wacore_binary::Node;

use super::{Chance, MediaEffect, MediaRule};
use crate::stanza::attr;

/// How long a delayed stanza waits when nothing else is said.
const DELAY: Duration = Duration::from_millis(500);
/// The code of a refusal when nothing else is said.
const REFUSED: u16 = 500;

/// Which way a stanza goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the server to the account's companions.
    #[default]
    ToClient,
    /// From the companions to the server.
    FromClient,
}

/// What happens to a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It gets lost.
    Drop,
    /// It comes later, and all after it; to clients only.
    Delay(Duration),
    /// It comes twice.
    Double,
    /// It changes places with the next; to clients only.
    Reorder,
    /// Its first ciphertext is broken; to clients only.
    Corrupt,
    /// It is refused; messages and IQs from clients only.
    Nack(u16),
    /// The connection ends instead.
    Cut,
}

impl Effect {
    /// Reads a name of the admin API. `delay` takes milliseconds after a colon,
    /// `nack` a code. Nothing when it is no effect of a rule.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<u64>().ok()?)),
            None => (text, None),
        };
        Some(match (name, number) {
            ("drop", None) => Self::Drop,
            ("delay", wait) => Self::Delay(wait.map_or(DELAY, Duration::from_millis)),
            ("double", None) => Self::Double,
            ("reorder", None) => Self::Reorder,
            ("corrupt", None) => Self::Corrupt,
            ("nack", code) => Self::Nack(code.map_or(Some(REFUSED), |code| code.try_into().ok())?),
            ("cut", None) => Self::Cut,
            _ => return None,
        })
    }

    fn fits(self, direction: Direction) -> bool {
        match self {
            Self::Drop | Self::Double | Self::Cut => true,
            Self::Delay(_) | Self::Reorder | Self::Corrupt => direction == Direction::ToClient,
            Self::Nack(_) => direction == Direction::FromClient,
        }
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    effect: Effect,
    direction: Direction,
    /// The stanzas it is about: a tag, or a tag and a type or namespace
    /// (`receipt:read`, `iq:blocklist`); all when empty.
    stanza: String,
    /// How many stanzas it still hits.
    left: u32,
    chance: Chance,
}

impl Rule {
    /// A rule that hits the next `count` stanzas named `stanza` (any when empty)
    /// on their way in `direction`. Errors when the effect does not fit it.
    pub fn new(effect: Effect, direction: Direction, stanza: &str, count: u32) -> Result<Self> {
        if !effect.fits(direction) {
            bail!("{effect:?} cannot happen to what goes {direction:?}");
        }
        Ok(Self { effect, direction, stanza: stanza.to_owned(), left: count, chance: Chance::always() })
    }

    /// Lets it hit each stanza only with this probability, drawn from `seed`.
    pub fn by_chance(mut self, probability: f64, seed: u64) -> Result<Self> {
        self.chance = Chance::seeded(probability, seed)?;
        Ok(self)
    }

    fn means(&self, node: &Node) -> bool {
        match self.stanza.split_once(':') {
            None => self.stanza.is_empty() || self.stanza == node.tag,
            Some((tag, kind)) => {
                let is = |key| attr(node, key).as_deref() == Some(kind);
                tag == node.tag && (is("type") || is("xmlns"))
            }
        }
    }

    fn take(&mut self, direction: Direction, node: &Node) -> Option<Effect> {
        let meant = self.direction == direction && self.means(node);
        if !meant || self.left == 0 || !self.chance.hits() {
            return None;
        }
        self.left -= 1;
        Some(self.effect)
    }
}

/// The rules of one account, oldest first.
#[derive(Default)]
pub struct Rules {
    stanzas: Vec<Rule>,
    media: Vec<MediaRule>,
}

impl Rules {
    /// Adds one.
    pub fn add(&mut self, rule: Rule) {
        self.stanzas.push(rule);
    }

    /// Adds one about media.
    pub fn add_media(&mut self, rule: MediaRule) {
        self.media.push(rule);
    }

    /// How many stanzas and downloads they still hit.
    pub fn left(&self) -> u32 {
        let stanzas = self.stanzas.iter().map(|rule| rule.left);
        stanzas.chain(self.media.iter().map(MediaRule::left)).sum()
    }

    /// What happens to this stanza: the oldest rule that hits it says so.
    pub fn take(&mut self, direction: Direction, node: &Node) -> Option<Effect> {
        let effect = self.stanzas.iter_mut().find_map(|rule| rule.take(direction, node));
        self.stanzas.retain(|rule| rule.left > 0);
        effect
    }

    /// What happens to this download: the oldest rule that hits it says so.
    pub fn take_media(&mut self) -> Option<MediaEffect> {
        let effect = self.media.iter_mut().find_map(MediaRule::take);
        self.media.retain(|rule| rule.left() > 0);
        effect
    }
}

#[cfg(test)]
mod tests {
    use wacore_binary::builder::NodeBuilder;

    use super::{Direction, Effect, Rule, Rules};
    use crate::stanza::empty;

    fn hits(seed: u64) -> Vec<bool> {
        let rule = Rule::new(Effect::Drop, Direction::ToClient, "receipt", 1_000).unwrap();
        let mut rules = Rules::default();
        rules.add(rule.by_chance(0.3, seed).unwrap());
        (0..200).map(|_| rules.take(Direction::ToClient, &empty("receipt")).is_some()).collect()
    }

    #[test]
    fn the_same_seed_hits_the_same_stanzas() {
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        let share = hits(7).iter().filter(|hit| **hit).count();
        assert!((30..90).contains(&share), "{share} of 200 at 0.3");
    }

    #[test]
    fn a_rule_hits_its_stanzas_only_and_ends() {
        let mut rules = Rules::default();
        rules.add(Rule::new(Effect::Double, Direction::ToClient, "message", 2).unwrap());
        assert_eq!(rules.take(Direction::ToClient, &empty("receipt")), None);
        assert_eq!(rules.take(Direction::FromClient, &empty("message")), None);
        assert_eq!(rules.take(Direction::ToClient, &empty("message")), Some(Effect::Double));
        assert_eq!(rules.take(Direction::ToClient, &empty("message")), Some(Effect::Double));
        assert_eq!(rules.take(Direction::ToClient, &empty("message")), None);
        assert_eq!(rules.left(), 0);
        Rule::new(Effect::Nack(500), Direction::ToClient, "message", 1).unwrap_err();
    }

    #[test]
    fn a_rule_can_be_about_a_kind() {
        let mut rules = Rules::default();
        rules.add(Rule::new(Effect::Drop, Direction::FromClient, "iq:blocklist", 1).unwrap());
        let iq = |space| NodeBuilder::new("iq").attr("type", "get").attr("xmlns", space).build();
        assert_eq!(rules.take(Direction::FromClient, &iq("privacy")), None);
        assert_eq!(rules.take(Direction::FromClient, &iq("blocklist")), Some(Effect::Drop));
    }

    #[test]
    fn effects_are_read() {
        assert_eq!(Effect::parse("nack:463"), Some(Effect::Nack(463)));
        assert_eq!(Effect::parse("delay:20"), Some(Effect::Delay(std::time::Duration::from_millis(20))));
        assert_eq!(Effect::parse("drop:3"), None);
        assert_eq!(Effect::parse("earthquake"), None);
    }
}
