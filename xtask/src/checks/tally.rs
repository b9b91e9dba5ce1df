//! Counts what libtest reports.

use anyhow::{Result, bail};

/// The sums over all test programs of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran and passed.
    pub passed: u64,
    /// Tests that ran and failed.
    pub failed: u64,
    /// Tests that did not run: ignored or filtered out.
    pub skipped: u64,
}

impl Tally {
    /// Adds the counts if `line` is a test program's result line, such as
    /// `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
    pub fn read(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" | "filtered" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Refuses a run in which nothing ran or something was skipped.
    ///
    /// # Errors
    /// Says which.
    pub fn check(&self) -> Result<()> {
        if self.skipped > 0 {
            bail!("{} tests were skipped; nothing may be", self.skipped);
        }
        if self.passed == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn result_lines_are_summed() {
        let mut tally = Tally::default();
        tally.read("running 3 tests");
        tally.read("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.52s");
        tally
            .read("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        assert_eq!(tally, Tally { passed: 13, failed: 2, skipped: 0 });
        tally.check().expect("nothing skipped");
    }

    #[test]
    fn an_ignored_or_filtered_test_fails_the_run() {
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.52s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.52s",
        ] {
            let mut tally = Tally::default();
            tally.read(line);
            tally.check().expect_err("skipped tests are refused");
        }
    }
}
