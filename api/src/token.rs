//! Access tokens: JSON Web Tokens (RFC 7519) that are checked without the database.
//!
//! They are signed with HS256 by the first of the keys, whose id is in their header. The header is
//! never read: it is one of ours, letter by letter, or the token is refused. So none can choose an
//! algorithm, and a key that is removed takes its tokens with it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{DecodeError, Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use service::settings::Auth;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::caller::Caller;

/// How long an access token holds. It cannot be called back, so it is short.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Whom the tokens are for; a token for anybody else is refused.
pub const AUDIENCE: &str = "slipway-api";

/// Replicas whose clocks differ by more, in seconds, have other troubles.
const LEEWAY: u64 = 5;

/// The most characters of a token that are looked at. Ours have some 300.
const LONGEST: usize = 4096;

/// What a token says (RFC 7519, section 4.1). Times are seconds of the Unix epoch.
#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    /// Who issued it: the public address of this API.
    iss: &'a str,
    /// Whom it is for: [`AUDIENCE`], alone.
    aud: &'a str,
    /// The account.
    sub: Uuid,
    /// The session.
    sid: Uuid,
    /// When it was issued.
    iat: u64,
    /// Before when it does not hold. Ours hold at once, and say nothing of it.
    #[serde(default, skip_serializing)]
    nbf: u64,
    /// When it ends.
    exp: u64,
}

/// Why a token is refused. For the log: the client hears the same of each.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its header is that of no key, or it is no token at all.
    #[error("the token has no header of ours")]
    Header,
    /// Its signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is not written in base64url.
    #[error("the token is not base64url")]
    Encoding(#[from] DecodeError),
    /// A claim is missing or of another type.
    #[error("the token's claims are not ours")]
    Claims(#[from] serde_json::Error),
    /// Another service issued it, or for another.
    #[error("the token is of another issuer or for another audience")]
    Elsewhere,
    /// It has ended, or has not begun.
    #[error("the token does not hold at this time")]
    Time,
}

/// Signs and checks access tokens with HS256 and nothing else.
pub struct AccessTokens {
    issuer: String,
    /// The first one signs.
    keys: Vec<Key>,
}

/// What the tokens of a key are known by.
struct Key {
    /// As it stands before the first dot.
    header: String,
    /// To be copied for each token: the two blocks that the key takes are hashed once.
    keyed: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &SecretString) -> Self {
        let secret = secret.expose_secret().as_bytes();
        // Eight digits tell keys apart and give away nothing of 256 bits.
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(secret).into();
        let id = u32::from_be_bytes([a, b, c, d]);
        let header = format!(r#"{{"alg":"HS256","kid":"{id:08x}","typ":"JWT"}}"#);
        Self {
            header: URL_SAFE_NO_PAD.encode(header),
            keyed: Hmac::new_from_slice(secret).expect("HMAC takes keys of every length"),
        }
    }

    /// The HMAC of what is signed.
    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(signed.as_bytes());
        mac
    }
}

impl AccessTokens {
    /// Tokens of the API that is known as `public_url`.
    ///
    /// # Panics
    /// When there is no key, which no [`Auth::read`] returns.
    pub fn new(auth: &Auth, public_url: &str) -> Self {
        assert!(!auth.jwt_secrets.is_empty(), "settings hold a key");
        Self {
            issuer: public_url.to_owned(),
            keys: auth.jwt_secrets.iter().map(Key::new).collect(),
        }
    }

    /// A token for `account` in `session`, valid from now on for [`LIFETIME`].
    ///
    /// # Errors
    /// When the claims cannot be written.
    pub fn issue(&self, account: Uuid, session: Uuid) -> serde_json::Result<String> {
        let now = now();
        let claims = serde_json::to_vec(&Claims {
            iss: &self.issuer,
            aud: AUDIENCE,
            sub: account,
            sid: session,
            iat: now,
            nbf: now,
            exp: now + LIFETIME.as_secs(),
        })?;
        let key = &self.keys[0];
        let mut token = format!("{}.", key.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.mac(&token).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Whose token it is, if it holds.
    ///
    /// # Errors
    /// When it is not ours, not for us, altered or over.
    pub fn check(&self, token: &str) -> Result<Caller, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::Header);
        }
        let (header, rest) = token.split_once('.').ok_or(Refused::Header)?;
        let key = self.keys.iter().find(|key| key.header == header);
        let key = key.ok_or(Refused::Header)?;
        let (payload, signature) = rest.split_once('.').ok_or(Refused::Signature)?;
        let signed = &token[..token.len() - signature.len() - 1];
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        // Compared in constant time.
        let right = key.mac(signed).verify_slice(&signature);
        right.map_err(|_| Refused::Signature)?;

        let payload = URL_SAFE_NO_PAD.decode(payload)?;
        let claims: Claims = serde_json::from_slice(&payload)?;
        if claims.iss != self.issuer || claims.aud != AUDIENCE {
            return Err(Refused::Elsewhere);
        }
        let now = now();
        // Only a clock that is wrong issues tokens of the future.
        let begins = claims.iat.max(claims.nbf);
        if begins > now + LEEWAY || claims.exp <= now.saturating_sub(LEEWAY) {
            return Err(Refused::Time);
        }
        Ok(Caller {
            account_id: claims.sub,
            session_id: claims.sid,
        })
    }
}

/// Seconds of the Unix epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

/// Shows no key.
impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
