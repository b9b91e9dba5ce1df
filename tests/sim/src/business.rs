//! Business accounts: a name WhatsApp vouches for, in a certificate.

use anyhow::Result;
use buffa::Message as _;
use wacore_binary::{Node, builder::NodeBuilder};
use waproto::whatsapp::{VerifiedNameCertificate, verified_name_certificate};

use crate::{
    ids::{Address, Number},
    queue::Class,
    stanza::unix_now,
    state::State,
};

/// The name of a business and its certificate.
pub struct Business {
    name: String,
    serial: u64,
    certificate: Vec<u8>,
}

impl Business {
    /// A business with a self-made certificate: clients decode it, they do not
    /// check its signature.
    pub fn new(name: &str) -> Self {
        let serial = unix_now();
        let details = verified_name_certificate::Details {
            serial: Some(serial),
            issuer: Some("smb:wa".into()),
            verified_name: Some(name.to_owned()),
            ..Default::default()
        };
        let certificate =
            VerifiedNameCertificate { details: Some(details.encode_to_vec()), ..Default::default() }.encode_to_vec();
        Self { name: name.to_owned(), serial, certificate }
    }

    /// `<verified_name>` with the certificate, as it goes with messages and in
    /// user queries.
    pub fn node(&self) -> Node {
        NodeBuilder::new("verified_name")
            .attr("v", "1")
            .attr("name", self.name.as_str())
            .attr("serial", self.serial)
            .attr("issuer", "smb:wa")
            .bytes(self.certificate.clone())
            .build()
    }
}

/// Makes an account a business of this name, or ends that; those who know the
/// account are told.
pub fn set_business(state: &mut State, number: &Number, name: Option<&str>) -> Result<()> {
    let account = state.account_mut(number)?;
    account.business = name.map(Business::new);
    let jid = account.jid(account.family(), 0);
    let body = match &account.business {
        Some(business) => {
            let mut verified = business.node();
            verified.attrs.insert("jid", jid.clone());
            verified
        }
        None => NodeBuilder::new("remove").attr("jid", &jid).build(),
    };
    let watchers: Vec<Number> = account.watchers.iter().cloned().collect();
    for watcher in watchers {
        for device in state.companions_of(&watcher) {
            let notification = NodeBuilder::new("notification")
                .attr("type", "business")
                .attr("from", &jid)
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .children([body.clone()])
                .build();
            state.deliver(&Address::new(&watcher, device), Class::Notification, Some(number), notification);
        }
    }
    Ok(())
}

/// The name that goes with `<pair-success>` of a business.
pub fn pairing_name(state: &State, number: &Number) -> Option<Node> {
    let business = state.accounts.get(number)?.business.as_ref()?;
    Some(NodeBuilder::new("biz").attr("name", business.name.as_str()).build())
}
