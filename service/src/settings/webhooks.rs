use secrecy::SecretString;

use super::{Environment, Reader};

/// Webhooks.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// The keys that signing secrets are derived from. The first makes new ones; the others are
    /// for secrets that were made with them. There is at least one.
    pub keys: Vec<SecretString>,
    /// Whether events may be sent to this host and its networks, and by plain HTTP.
    pub allow_private: bool,
}

impl Webhooks {
    /// Reads `WEBHOOK_*`.
    ///
    /// Outside of development, private targets are refused: whoever has an account could have our
    /// workers knock at doors that only they can reach.
    pub fn read(reader: &mut Reader, environment: Environment) -> Self {
        const ALLOW: &str = "WEBHOOK_ALLOW_PRIVATE";
        let allow_private = reader.parsed(ALLOW, "true or false", |text| text.parse().ok());
        if allow_private && environment != Environment::Development {
            let wrong = "\"true\" would let every account reach this service's own network";
            reader.problem(ALLOW, wrong, "outside of development, leave it unset");
        }
        Self {
            // Each signs by way of HMAC-SHA256, which is as strong as its key.
            keys: reader.secrets("WEBHOOK_SECRET", 32),
            allow_private,
        }
    }
}
