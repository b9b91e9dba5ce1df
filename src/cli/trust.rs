//! Whether this build checks that it talks to WhatsApp.
//!
//! The check of the server's certificate is compiled out of the WhatsApp library by a Cargo feature, which any
//! member of the workspace could switch on for all. So the library itself is asked, with a forged certificate,
//! and a build whose answer is not what its own feature says does not run.

use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::noise::HandshakeUtils;
use whatsapp_rust::waproto::whatsapp::{
    CertChain, cert_chain::NoiseCertificate, cert_chain::noise_certificate::Details,
};

/// This build's feature and the library disagree.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TrustFault {
    /// The check is gone from a build that should have it.
    #[error(
        "this build would accept anybody as WhatsApp's server, although it is not a simulator build, so it does not run; build the package alone: cargo build --release --package matrix-whatsapp"
    )]
    CheckGone,
    /// A simulator build that would refuse the simulator.
    #[error(
        "this build has the feature `simulator` but checks WhatsApp's certificate all the same, so it does not run; build it anew from a clean checkout"
    )]
    CheckThere,
}

/// Compares the library's answer with our feature.
///
/// # Errors
/// [`TrustFault`]: this build must not run.
pub(super) fn check_build() -> Result<(), TrustFault> {
    compare(accepts_forged_certificates(), cfg!(feature = "simulator"))
}

fn compare(accepts_forged: bool, is_simulator_build: bool) -> Result<(), TrustFault> {
    match (accepts_forged, is_simulator_build) {
        (true, false) => Err(TrustFault::CheckGone),
        (false, true) => Err(TrustFault::CheckThere),
        _ => Ok(()),
    }
}

/// Whether the library takes a certificate chain with right fields and signatures of zeros: the answer is yes
/// exactly when its check is compiled out.
pub(super) fn accepts_forged_certificates() -> bool {
    let server_key = [7; 32];
    HandshakeUtils::verify_server_cert(&forge_chain(&server_key), &server_key).is_ok()
}

fn forge_chain(server_key: &[u8; 32]) -> Vec<u8> {
    // The issuer 0 is WhatsApp's root; the leaf names its issuer by serial.
    let intermediate = forge_certificate(1, 0, &[9; 32]);
    let leaf = forge_certificate(2, 1, server_key);
    let chain = CertChain { leaf: MessageField::some(leaf), intermediate: MessageField::some(intermediate) };
    chain.encode_to_vec()
}

fn forge_certificate(serial: u32, issuer: u32, key: &[u8; 32]) -> NoiseCertificate {
    let details = Details {
        serial: Some(serial),
        issuer_serial: Some(issuer),
        key: Some(key.to_vec()),
        not_before: Some(0),
        not_after: Some(4_000_000_000),
    };
    NoiseCertificate { details: Some(details.encode_to_vec()), signature: Some(vec![0; 64]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_answers_as_this_builds_feature_says() {
        assert_eq!(accepts_forged_certificates(), cfg!(feature = "simulator"));
        assert_eq!(check_build(), Ok(()));
    }

    #[test]
    fn a_build_whose_answer_differs_is_refused() {
        assert_eq!(compare(true, false), Err(TrustFault::CheckGone));
        assert_eq!(compare(false, true), Err(TrustFault::CheckThere));
        assert_eq!(compare(false, false), Ok(()));
    }
}
