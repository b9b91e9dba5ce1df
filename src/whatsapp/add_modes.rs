//! Who may add people to a group, read from the stanza itself.
//!
//! The library takes the setting for text only, and on the wire it is bytes: it tells nothing of it (whatsapp-rust 0.7). The
//! stanza passes here before the library's answer does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use whatsapp_rust::wacore_binary::NodeRef;

/// Groups remembered; each is told again with every reading.
const MEMORY: usize = 20_000;

/// Groups in which only admins may add people, as they were told last.
#[derive(Default)]
pub(super) struct AddModes(Mutex<HashMap<String, bool>>);

impl AddModes {
    /// Notes what an answer about groups tells; other stanzas tell nothing. Never waits.
    pub(super) fn note(&self, stanza: &NodeRef<'_>) {
        let roots = stanza.children().unwrap_or_default();
        let groups = roots.iter().flat_map(|root| match root.tag.as_ref() {
            "groups" => root.children().unwrap_or_default(),
            "group" => std::slice::from_ref(root),
            _ => &[],
        });
        for group in groups {
            let id = group.attrs().optional_string("id");
            let mode = group.get_optional_child("member_add_mode").and_then(|mode| mode.content_as_string());
            if let (Some(id), Some(mode)) = (id, mode) {
                let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MEMORY {
                    known.clear();
                }
                known.insert(id.into_owned(), mode == "admin_add");
            }
        }
    }

    /// Whether only admins may add people to the group of this id (without its server), as far as it was told.
    pub(super) fn is_for_admins(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    #[test]
    fn the_setting_is_read_as_bytes_and_as_text() {
        let modes = AddModes::default();
        let group = |id: &'static str, mode: NodeBuilder| {
            NodeBuilder::new("group").attr("id", id).children([mode.build()]).build()
        };
        let mode = || NodeBuilder::new("member_add_mode");
        let groups = [
            group("1", mode().bytes(b"admin_add".to_vec())),
            group("2", mode().string_content("admin_add")),
            group("3", mode().bytes(b"all_member_add".to_vec())),
        ];
        let all = NodeBuilder::new("iq").children([NodeBuilder::new("groups").children(groups).build()]).build();
        modes.note(&all.as_node_ref());
        assert_eq!(["1", "2", "3", "4"].map(|id| modes.is_for_admins(id)), [true, true, false, false]);
        let one = NodeBuilder::new("iq").children([group("1", mode().bytes(b"all_member_add".to_vec()))]).build();
        modes.note(&one.as_node_ref());
        assert!(!modes.is_for_admins("1"));
    }
}
