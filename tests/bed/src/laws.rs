//! The laws every story ends with: nothing lost, nothing doubled, order kept. (The fourth, lanes empty, is asked of
//! the bridge itself: [`crate::bridge::Bridge::wait_idle`].)

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};

/// Checks that what was said is what is seen, each exactly once and in the same order.
///
/// `said` must not contain a text twice. What else is seen is no fault: other directions share the room. `again` are
/// texts WhatsApp had to deliver again because the receiver could not decrypt them and asked the sender to repeat:
/// such a repetition comes when it comes, so order is not asked of them; that they come once is.
///
/// # Errors
/// Lists what is lost, doubled, or the first text out of order; `path` names the direction.
pub fn check(path: &str, said: &[String], seen: &[String], again: &HashSet<String>) -> Result<()> {
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
    let in_order: Vec<&String> = said.iter().filter(|text| !again.contains(*text)).collect();
    let order: Vec<usize> = in_order.iter().map(|text| places[text.as_str()][0]).collect();
    if let Some(place) = order.windows(2).position(|pair| pair[0] > pair[1]) {
        let [before, after] = [in_order[place], in_order[place + 1]];
        bail!("{path}: {before:?} was said before {after:?}, but seen after it; seen: {seen:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    fn check(path: &str, said: &[String], seen: &[String]) -> anyhow::Result<()> {
        super::check(path, said, seen, &HashSet::new())
    }

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

    #[test]
    fn a_repetition_may_come_late_but_only_once() {
        let again: HashSet<String> = ["b".to_owned()].into();
        super::check("path", &texts("a b c"), &texts("a c b"), &again).expect("lawful");
        super::check("path", &texts("a b c"), &texts("c a b"), &again).expect_err("the others keep their order");
        super::check("path", &texts("a b c"), &texts("a c b b"), &again).expect_err("once");
        super::check("path", &texts("a b c"), &texts("a c"), &again).expect_err("not lost");
    }
}
