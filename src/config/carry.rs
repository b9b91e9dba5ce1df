//! An operator's values carried into the newest commented example, so that a file written for an older version shows
//! every key there is now. Pure.

use serde_yaml::{Mapping, Value};

use super::environment::Environment;
use super::example::write_config;
use super::faults::Faults;
use super::keys::{Fallback, KEYS, Key, Kind, TO_BE_GENERATED};
use super::load::{Found, build_tree, find_values, parse_yaml, value_of_text};

/// The text of a config file with every key of this version and its comments, and the values of `text`. `None` when
/// `text` has every key already, is JSON (programs write that, nobody reads comments there), or has faults, which
/// loading tells.
///
/// What it gives loads to exactly what `text` loads to. The environment has no part in it: what it gives instead of
/// the file is not written, and a key that only the environment gives stays without a value.
#[must_use]
pub fn carry_over(text: &str) -> Option<String> {
    if text.trim_start().starts_with('{') {
        return None;
    }
    let top = match parse_yaml(text, "").ok()? {
        Value::Mapping(top) => top,
        Value::Null => Mapping::new(),
        _ => return None,
    };
    if KEYS.iter().all(|key| has_key(&top, key.path)) {
        return None;
    }
    let found = read(text)?;
    let carried = write_config(&|key| found.get(key.path).cloned().unwrap_or_else(|| not_given(key)));
    // The last net: a value that would not survive is never written.
    (tree_of(&read(&carried)?) == tree_of(&found)).then_some(carried)
}

/// The values of the file alone; `None` when something in it is faulty.
fn read(text: &str) -> Option<Found> {
    let mut faults = Faults::default();
    let found = find_values(text, "", &Environment::default(), &mut faults).ok()?;
    faults.is_empty().then_some(found)
}

/// Everything the values lead to, defaults included. Required keys that are not given (the environment may give them)
/// are the same on both sides.
fn tree_of(found: &Found) -> Value {
    build_tree(found, &mut Faults::default())
}

/// What is written for a key the file does not give: its default, or what counts as not given.
pub(super) fn not_given(key: &Key) -> Value {
    match key.default {
        Fallback::Is(text) => value_of_text(key.kind, text),
        Fallback::Required if key.kind == Kind::Generated => Value::from(TO_BE_GENERATED),
        Fallback::Unset | Fallback::Required => Value::Null,
    }
}

/// Whether the key stands in the file, with a value or without.
fn has_key(tree: &Mapping, path: &str) -> bool {
    match path.split_once('.') {
        None => tree.contains_key(path),
        Some((section, rest)) => match tree.get(section) {
            Some(Value::Mapping(inner)) => has_key(inner, rest),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Config, example_config};
    use super::*;

    const OLD: &str = r#"
# mine
homeserver: {address: "http://localhost:8008", domain: example.org}
appservice:
    address: http://localhost:29318
    as_token: 'it''s #1: "ours"'
    hs_token: "theirs"
bridge:
    permissions:
        "*": relay
        "@o'hara:example.org": admin
double_puppet: {servers: {m.example.net: "https://m.example.net"}, secrets: {m.example.net: "as_token:no"}}
network: {os_name: "no", archive_tag: ''}
encryption: {pickle_key: "12"}
"#;

    fn same_meaning(old: &str, new: &str) {
        assert_eq!(tree_of(&read(old).unwrap()), tree_of(&read(new).unwrap()), "{new}");
    }

    #[test]
    fn an_old_file_gets_every_key_and_comment_and_keeps_its_values() {
        let carried = carry_over(OLD).unwrap();
        same_meaning(OLD, &carried);
        for key in KEYS {
            assert!(has_key(&serde_yaml::from_str(&carried).unwrap(), key.path), "{}", key.path);
        }
        assert!(carried.contains("# Whether each login gets a space"), "{carried}");
        assert!(carried.contains("        \"@o'hara:example.org\": admin\n"), "{carried}");
        assert!(carried.contains("\n    os_name: 'no'\n"), "{carried}");
        assert!(carried.contains("\n    personal_filtering_spaces: true\n"), "{carried}");
        assert_eq!(carry_over(&carried), None, "a second start changes nothing");
    }

    #[test]
    fn a_file_with_every_key_is_left_alone_and_so_are_json_and_faults() {
        assert_eq!(carry_over(&example_config()), None);
        let json: Value = serde_yaml::from_str(OLD).unwrap();
        assert_eq!(carry_over(&serde_json::to_string(&json).unwrap()), None);
        assert_eq!(carry_over("homeserver: {adress: x}\n"), None);
        assert_eq!(carry_over("- a\n"), None);
        assert_eq!(carry_over("a: 'b"), None);
    }

    #[test]
    fn what_only_the_environment_gives_is_not_written() {
        let variables = [
            ("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN".to_owned(), "secret-of-outside".to_owned()),
            ("MATRIX_WHATSAPP_HOMESERVER__ADDRESS".to_owned(), "http://of-outside".to_owned()),
            ("MATRIX_WHATSAPP_BRIDGE__PERMISSIONS".to_owned(), "{'*': admin}".to_owned()),
        ];
        let environment: Environment = variables.into_iter().collect();
        let text = "homeserver: {domain: d.example}\nappservice: {address: 'http://a', hs_token: h}\n\
                    encryption: {pickle_key: p}\n";
        let carried = carry_over(text).unwrap();
        assert!(!carried.contains("outside") && !carried.contains("\"*\": admin"), "{carried}");
        let (before, after) =
            (Config::parse(text, "c", &environment).unwrap(), Config::parse(&carried, "c", &environment).unwrap());
        assert_eq!(before.origin.tree, after.origin.tree);
        assert_eq!(after.appservice.as_token.reveal(), "secret-of-outside");
    }

    fn any_value(key: &'static Key) -> BoxedStrategy<Value> {
        let text = || "[^\\p{C}]{0,12}".prop_map(Value::from);
        match key.kind {
            Kind::Port | Kind::Mebibytes | Kind::PerMinute => (1_u32..60_000).prop_map(Value::from).boxed(),
            Kind::Flag => any::<bool>().prop_map(Value::from).boxed(),
            Kind::Choice(words) => prop::sample::select(words).prop_map(Value::from).boxed(),
            Kind::Levels => {
                let names = prop_oneof![Just("*".to_owned()), "[a-z]{1,6}\\.org", "@[!-9;-~]{1,6}:[a-z]{1,6}"];
                let levels = prop::sample::select(&["block", "relay", "commands", "user", "admin"][..]);
                prop::collection::btree_map(names, levels, 0..4)
                    .prop_map(|map| map.into_iter().map(|(k, v)| (Value::from(k), Value::from(v))).collect::<Mapping>())
                    .prop_map(Value::Mapping)
                    .boxed()
            }
            Kind::Addresses | Kind::Tokens => prop::collection::btree_map("[a-z]{1,6}\\.org", "[^\\p{C}]{1,9}", 0..3)
                .prop_map(|map| {
                    map.into_iter().map(|(k, v)| (Value::from(k), Value::from(format!("as_token:{v}")))).collect()
                })
                .prop_map(Value::Mapping)
                .boxed(),
            Kind::Formats => prop::collection::btree_map(
                prop::sample::select(&["m.text", "m.notice", "m.emote"][..]),
                "[-a-z '\"#:!&*?,|%@`\\\\]{0,8}",
                0..3,
            )
            .prop_map(|map| {
                let format =
                    |text| Value::from(format!("{text}<b>{{{{.Sender.FormattedName}}}}</b>: {{{{.Message}}}}"));
                Value::Mapping(map.into_iter().map(|(kind, text)| (Value::from(kind), format(text))).collect())
            })
            .boxed(),
            Kind::NameFormat => text_around("{{.Displayname}}"),
            Kind::NameTemplate => text_around("{{or .PushName .Phone}}"),
            Kind::Numbers => prop::collection::vec("\\+?[0-9]{5,15}", 0..3)
                .prop_map(|numbers| Value::Sequence(numbers.into_iter().map(Value::from).collect()))
                .boxed(),
            Kind::Text | Kind::Generated | Kind::Private => text().boxed(),
        }
    }

    fn text_around(field: &'static str) -> BoxedStrategy<Value> {
        ("[^\\p{C}{}]{0,8}", "[^\\p{C}{}]{0,8}").prop_map(move |(a, b)| Value::from(format!("{a}{field}{b}"))).boxed()
    }

    fn any_file() -> impl Strategy<Value = String> {
        let keys: Vec<_> =
            KEYS.iter().map(|key| prop::option::of(prop_oneof![9 => any_value(key), 1 => Just(Value::Null)])).collect();
        keys.prop_map(|values| {
            let mut tree = Mapping::new();
            for (key, value) in KEYS.iter().zip(values) {
                if let Some(value) = value {
                    super::super::load::put(&mut tree, key.path, value);
                }
            }
            serde_yaml::to_string(&Value::Mapping(tree)).unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_is_carried_loads_to_the_same(file in any_file()) {
            let found = read(&file);
            // Else most files could be faulty unseen, and nothing be tested; too many are an error.
            prop_assume!(found.is_some());
            let found = found.unwrap();
            let whole: Mapping = serde_yaml::from_str(&file).unwrap();
            let carried = carry_over(&file);
            if KEYS.iter().any(|key| !has_key(&whole, key.path)) {
                let carried = carried.unwrap();
                prop_assert_eq!(tree_of(&read(&carried).unwrap()), tree_of(&found));
                prop_assert_eq!(carry_over(&carried), None);
            } else {
                prop_assert_eq!(carried, None);
            }
        }
    }
}
