//! The secrets `-g` makes: which are missing, and the text of the file with them in it. Pure but for the files
//! the environment names.

use super::environment::Environment;
use super::faults::Faults;
use super::load::missing_secrets;
use super::yaml::put_values;

/// The text of a config file with every generated secret that neither it nor the environment gives filled in
/// from `random`, which returns as many bytes as asked for, as hexadecimal digits. The same text when none is
/// missing. Everything else in the text stays: order, comments, spacing.
///
/// # Errors
/// [`Faults`] when the text is no YAML, or is written in a form that can't be edited safely.
pub fn fill_secrets(
    text: &str,
    name: &str,
    environment: &Environment,
    random: impl Fn(usize) -> String,
) -> Result<String, Faults> {
    let values: Vec<(&str, String)> =
        missing_secrets(text, name, environment)?.into_iter().map(|path| (path, random(32))).collect();
    if values.is_empty() {
        return Ok(text.to_owned());
    }
    put_values(text, &values).map_err(|why| {
        let paths: Vec<&str> = values.iter().map(|(path, _)| *path).collect();
        Faults::one(
            name,
            why.to_string(),
            format!("or fill in {} by hand: 64 random hexadecimal digits each", paths.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, example_config};
    use super::*;

    fn fill(text: &str, environment: &Environment) -> String {
        let count = std::cell::Cell::new(0);
        fill_secrets(text, "config.yaml", environment, |bytes| {
            count.set(count.get() + 1);
            format!("{}{}", count.get(), "a".repeat(bytes * 2 - 1))
        })
        .unwrap()
    }

    #[test]
    fn the_example_passes_every_check_once_its_secrets_are_made_and_a_second_time_changes_nothing() {
        let environment = Environment::default();
        let filled = fill(&example_config(), &environment);
        let config = Config::parse(&filled, "config.yaml", &environment).unwrap();
        assert_eq!(config.appservice.as_token.reveal().len(), 64);
        assert_ne!(config.appservice.as_token.reveal(), config.appservice.hs_token.reveal());
        assert_eq!(fill(&filled, &environment), filled);

        let changed: Vec<&str> = filled
            .lines()
            .zip(example_config().leak().lines())
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a.trim().split(':').next().unwrap())
            .collect();
        assert_eq!(changed, ["as_token", "hs_token", "pickle_key"]);
    }

    #[test]
    fn what_the_environment_gives_is_not_written_to_the_file() {
        let environment: Environment =
            [("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN".to_owned(), "from-outside".to_owned())].into_iter().collect();
        let filled = fill(&example_config(), &environment);
        assert!(filled.contains("as_token: generate\n"));
        let config = Config::parse(&filled, "config.yaml", &environment).unwrap();
        assert_eq!(config.appservice.as_token.reveal(), "from-outside");
    }
}
