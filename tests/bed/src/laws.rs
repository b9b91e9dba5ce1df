//! The laws every story ends with: nothing lost, nothing doubled, order kept. (The fourth, lanes empty, is asked of
//! the bridge itself: [`crate::bridge::Bridge::wait_idle`].)

use std::collections::HashMap;

use anyhow::{Result, bail};

/// Checks that what was said is what is seen, each exactly once and in the same order.
///
/// `said` must not contain a text twice. What else is seen is no fault: other directions share the room.
///
/// # Errors
/// Lists what is lost, doubled, or the first text out of order; `path` names the direction.
pub fn check(path: &str, said: &[String], seen: &[String]) -> Result<()> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, text) in seen.iter().enumerate() {
        places.entry(text).or_default().push(place);
    }
    let times = |text: &String| places.get(text.as_str()).map_or(0, Vec::len);
    let lost: Vec<&String> = said.iter().filter(|text| times(text) == 0).collect();
    let doubled: Vec<&String> = said.iter().filter(|text| times(text) > 1).collect();
    if !lost.is_empty() || !doubled.is_empty() {
        bail!("{path}: of {} said, lost {lost:?}, doubled {doubled:?}; seen: {seen:?}", said.len());
    }
    let order: Vec<usize> = said.iter().filter_map(|text| places.get(text.as_str()).map(|p| p[0])).collect();
    if let Some(place) = order.windows(2).position(|pair| pair[0] > pair[1]) {
        bail!("{path}: {:?} was said before {:?}, but seen after it; seen: {seen:?}", said[place], said[place + 1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    fn texts(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_same_in_the_same_order_is_lawful_whatever_lies_between() {
        check("path", &texts("a b c"), &texts("a x b y c z")).expect("lawful");
    }

    #[test]
    fn each_law_can_be_broken() {
        for (seen, word) in [("a c", "lost [\"b\"]"), ("a b b c", "doubled [\"b\"]"), ("b a c", "seen after")] {
            let broken = check("path", &texts("a b c"), &texts(seen)).expect_err(seen);
            assert!(broken.to_string().contains(word), "{broken}");
        }
    }
}
