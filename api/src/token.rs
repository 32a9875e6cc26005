//! Access tokens: JSON Web Tokens that are checked without the database.

use std::{fmt, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode,
    errors::{Error, ErrorKind},
    get_current_timestamp,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use service::settings::Auth;
use uuid::Uuid;

/// How long an access token holds. It cannot be called back, so it is short.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Whom the tokens are for; a token for anybody else is refused.
pub const AUDIENCE: &str = "slipway-api";

/// What a token says (RFC 7519, section 4.1). Times are seconds of the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: the public address of this API.
    pub iss: String,
    /// Whom it is for: [`AUDIENCE`], alone.
    pub aud: String,
    /// The account.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// When it was issued.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
}

/// Signs and checks access tokens with HS256 and nothing else.
pub struct AccessTokens {
    issuer: String,
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl AccessTokens {
    /// Tokens of the API that is known as `public_url`.
    pub fn new(auth: &Auth, public_url: &str) -> Self {
        let secret = auth.jwt_secret.expose_secret().as_bytes();
        // The algorithm is ours to choose, never the token's header's.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[public_url]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Replicas whose clocks differ by more have other troubles.
        validation.leeway = 5;
        Self {
            issuer: public_url.to_owned(),
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// A token for `account` in `session`, valid from now on for [`LIFETIME`].
    ///
    /// # Errors
    /// When the claims cannot be signed.
    pub fn issue(&self, account: Uuid, session: Uuid) -> Result<String, Error> {
        let now = get_current_timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: account,
            sid: session,
            iat: now,
            exp: now + LIFETIME.as_secs(),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// What a token says, if it holds.
    ///
    /// # Errors
    /// When it is not ours, not for us, altered or over.
    pub fn check(&self, token: &str) -> Result<Claims, Error> {
        let claims = decode::<Claims>(token, &self.checking, &self.validation)?.claims;
        // Not checked by the library; only a clock that is wrong issues such a token.
        if claims.iat > get_current_timestamp() + self.validation.leeway {
            return Err(ErrorKind::ImmatureSignature.into());
        }
        Ok(claims)
    }
}

/// Shows no key.
impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
