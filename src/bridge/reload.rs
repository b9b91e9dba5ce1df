//! The configuration read again while the bridge runs: because an administrator says so, or by the signal SIGHUP.
//!
//! Nothing is stored: a restart reads the file anyway. Whoever was reading the old values goes on with them.

use super::Bridge;
use crate::config::{Faults, Reloaded};
use crate::telemetry;
use std::sync::PoisonError;

impl Bridge {
    /// Reads the configuration again and puts in force what may change without a restart. Its news is in the answer and in
    /// the log.
    ///
    /// # Errors
    /// Everything that is wrong with the file; then nothing has changed.
    pub fn reload(&self) -> Result<Reloaded, Faults> {
        let reloaded = self.read_config_again();
        match &reloaded {
            Ok(reloaded) if reloaded.changed.is_empty() && reloaded.waiting.is_empty() => {
                tracing::info!("the configuration was read again and is the same");
            }
            Ok(Reloaded { changed, waiting, .. }) => {
                tracing::info!(?changed, ?waiting, "the configuration was read again; what waits needs a restart");
            }
            Err(faults) => {
                for fault in faults.iter() {
                    tracing::error!("the configuration stays as it was: {fault}");
                }
            }
        }
        reloaded
    }

    fn read_config_again(&self) -> Result<Reloaded, Faults> {
        // One at a time, so that none is compared with values another is replacing.
        let _turn = self.shared.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = self.config().read_again()?;
        if reloaded.changed.is_empty() {
            return Ok(reloaded);
        }
        if !self.shared.config.put(reloaded.config.clone()) {
            return Err(Faults::one("config", "was read again very often", "restart the bridge"));
        }
        telemetry::set_level(reloaded.config.logging.level);
        self.shared.budgets.set(&reloaded.config.bridge.budgets);
        self.whatsapp().take_deliveries(reloaded.config.matrix.message_status_events);
        Ok(reloaded)
    }
}
