use std::sync::Arc;

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Whom to trust as Redis; a TLS that trusts anybody is not to be had.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

/// The certificates to trust cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// They are not in PEM.
    #[error("not certificates in PEM: {0}")]
    Pem(String),
    /// There is none.
    #[error("no certificate: a PEM text with -----BEGIN CERTIFICATE----- is needed")]
    None,
    /// One is damaged, or of a kind that is not known.
    #[error("a certificate is unusable: {0}")]
    Certificate(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Trusts servers whose certificate one of `ca`, certificates in PEM, has signed, or
    /// without any a public authority, of those that Mozilla trusts.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(ca: Option<&str>) -> Result<Self, TlsError> {
        let roots = match ca {
            Some(pem) => authorities(pem)?,
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        };
        // Named, because a process with two of them in its dependencies has no default.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|error| TlsError::Pem(error.to_string()))?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::None);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused() {
        let refused = |pem| Tls::new(Some(pem)).unwrap_err();
        assert!(matches!(refused(""), TlsError::None));
        assert!(matches!(refused("secret"), TlsError::None));
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB";
        assert!(matches!(refused(cut), TlsError::Pem(_)));
        let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(matches!(refused(damaged), TlsError::Certificate(_)));
        Tls::new(None).unwrap();
    }
}
