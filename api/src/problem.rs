//! Errors as clients see them: RFC 9457 problem documents.

mod document;

use std::{fmt::Display, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub(crate) use self::document::{About, document};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// After how many seconds a client should try again when a dependency is away.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// An error for the client. `document` writes it down with the request's id.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: Option<&'static Kind>,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<HeaderValue>,
    /// Whether the `Content-Encoding` is what is wrong.
    encoded: bool,
}

/// What is wrong with one field of a request's body, or one parameter of its query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What, for people.
    pub detail: String,
}

/// Where in a request something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the body, as a JSON pointer (RFC 6901): `/email`; empty for all of it.
    Pointer(String),
    /// In the query: the parameter's name.
    Parameter(String),
}

/// What clients may want to tell apart beyond the status. A feature has its own in its folder.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The last part of the `type`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
}

const INVALID_FIELDS: Kind = Kind {
    name: "invalid-fields",
    title: "Some fields are invalid",
};
const INVALID_PARAMETERS: Kind = Kind {
    name: "invalid-parameters",
    title: "Some parameters are invalid",
};
const WRONG_CREDENTIALS: Kind = Kind {
    name: "wrong-credentials",
    title: "The credentials are wrong",
};
const INVALID_REFRESH_TOKEN: Kind = Kind {
    name: "invalid-refresh-token",
    title: "The refresh token is not valid",
};
const INVALID_VERIFICATION_TOKEN: Kind = Kind {
    name: "invalid-verification-token",
    title: "The verification token is not valid",
};
const INVALID_RESET_TOKEN: Kind = Kind {
    name: "invalid-reset-token",
    title: "The reset token is not valid",
};
const INVALID_EMAIL_CHANGE_TOKEN: Kind = Kind {
    name: "invalid-email-change-token",
    title: "The token of the new address is not valid",
};
const WRONG_PASSWORD: Kind = Kind {
    name: "wrong-password",
    title: "The password is wrong",
};
const ADDRESS_TAKEN: Kind = Kind {
    name: "address-taken",
    title: "Another account has this address",
};
const QUOTA_EXCEEDED: Kind = Kind {
    name: "quota-exceeded",
    title: "There were too many such requests",
};

impl Place {
    /// What the client calls it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Pointer(pointer) => pointer.trim_start_matches('/'),
            Self::Parameter(name) => name,
        }
    }
}

impl Problem {
    /// A problem that its status says enough about.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind: None,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER),
            encoded: false,
        }
    }

    pub(crate) fn of_kind(
        status: StatusCode,
        kind: &'static Kind,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: Some(kind),
            ..Self::new(status, detail)
        }
    }

    /// 422: fields of the body are wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = "Correct the fields that `errors` names and send the request again.";
        Self {
            errors,
            ..Self::of_kind(StatusCode::UNPROCESSABLE_ENTITY, &INVALID_FIELDS, detail)
        }
    }

    /// 422: parameters of the query are wrong.
    pub fn invalid_parameters(errors: Vec<FieldError>) -> Self {
        let detail = "Correct the parameters that `errors` names and send the request again.";
        Self {
            errors,
            ..Self::of_kind(
                StatusCode::UNPROCESSABLE_ENTITY,
                &INVALID_PARAMETERS,
                detail,
            )
        }
    }

    /// 404: no resource has this id, or it is somebody else's, which is not told apart.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "There is nothing with this id, or it is not yours.",
        )
    }

    /// 412: the resource has another version than `If-Match` names.
    pub fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "The resource has changed since. Read it again, and repeat the change if it still \
             makes sense.",
        )
    }

    /// 422: the token of a verification mail does not verify anything; `reason` says why.
    pub fn invalid_verification_token(reason: impl Display) -> Self {
        Self::of_kind(
            StatusCode::UNPROCESSABLE_ENTITY,
            &INVALID_VERIFICATION_TOKEN,
            format!("This does not prove an address: {reason}."),
        )
    }

    /// 422: the token of a reset mail does not reset anything; `reason` says why.
    pub fn invalid_reset_token(reason: impl Display) -> Self {
        Self::of_kind(
            StatusCode::UNPROCESSABLE_ENTITY,
            &INVALID_RESET_TOKEN,
            format!("This does not reset a password: {reason}."),
        )
    }

    /// 422: the token of a mail to a new address does not change one; `reason` says why.
    pub fn invalid_email_change_token(reason: impl Display) -> Self {
        Self::of_kind(
            StatusCode::UNPROCESSABLE_ENTITY,
            &INVALID_EMAIL_CHANGE_TOKEN,
            format!("This does not change an address: {reason}."),
        )
    }

    /// 409: the address was free when the mail was sent, and is not any more.
    ///
    /// Only whoever reads its mail gets here, so nobody else learns it.
    pub fn address_taken() -> Self {
        Self::of_kind(
            StatusCode::CONFLICT,
            &ADDRESS_TAKEN,
            "Another account has got this address since the mail was sent.",
        )
    }

    /// 403: the field at `pointer` is not the password of the account.
    ///
    /// Not 401: the access token is good, and to log in again would change nothing.
    pub fn wrong_password(pointer: &str) -> Self {
        Self {
            errors: vec![FieldError {
                place: Place::Pointer(pointer.to_owned()),
                detail: "is not the password of this account".to_owned(),
            }],
            ..Self::of_kind(
                StatusCode::FORBIDDEN,
                &WRONG_PASSWORD,
                "This needs the password that the account has now.",
            )
        }
    }

    /// 403: only admins may do this, and the caller is none.
    pub fn admins_only() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Only admins may do this.")
    }

    /// 401: no access token, or none that holds.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Send a valid access token: `Authorization: Bearer <access_token>`.",
        )
    }

    /// 401: no account has this address, verified, and this password.
    ///
    /// It is the same for each reason, so that nobody learns which addresses have an account.
    pub fn wrong_credentials() -> Self {
        Self::of_kind(
            StatusCode::UNAUTHORIZED,
            &WRONG_CREDENTIALS,
            "No account has this e-mail address and this password, or the address is not verified \
             yet: then follow the link in the mail that was sent to it, and log in after that.",
        )
    }

    /// 400: the body is no JSON that can be read.
    pub(crate) fn not_json(error: &dyn Display) -> Self {
        let detail = format!("The body is not well-formed JSON. {error}");
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 415: the body is compressed, or encoded in another way.
    ///
    /// `Accept-Encoding` tells it from a body of the wrong type (RFC 9110, section 15.5.16).
    pub(crate) fn encoded() -> Self {
        Self {
            encoded: true,
            ..Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send the body as it is, without a `Content-Encoding`.",
            )
        }
    }

    /// 429: a limit is used up, and one request more of it will be free after this time.
    ///
    /// It does not say which one, whether it is the client's alone, or whether there is such an
    /// account.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        // At once would be refused again.
        let seconds = retry_after.as_millis().div_ceil(1000).max(1);
        let detail = format!("Wait for {seconds} s before you try this again.");
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Self {
            retry_after: Some(HeaderValue::from(seconds)),
            ..Self::of_kind(StatusCode::TOO_MANY_REQUESTS, &QUOTA_EXCEEDED, detail)
        }
    }

    /// 401: a refresh token that gives nothing; why is not told apart.
    pub fn invalid_refresh_token() -> Self {
        Self::of_kind(
            StatusCode::UNAUTHORIZED,
            &INVALID_REFRESH_TOKEN,
            "It was used before, has expired, or its session is over: log in again.",
        )
    }

    /// 500: a fault of the service. What it was stands in the log, not here.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The service failed. Its log has the reason under this request's id.",
        )
    }

    /// 503: something that the service needs is away, probably for a short time.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The service cannot do this right now. Try again in a moment.",
        )
    }

    /// What is wrong with the fields, if that is it.
    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The problem that a bare status of the router or of a layer stands for.
    fn of_status(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "There is nothing at this path.",
            StatusCode::METHOD_NOT_ALLOWED => {
                "This path does not have this method; the `Allow` header lists what it has."
            }
            StatusCode::PAYLOAD_TOO_LARGE => "The body is larger than this service accepts.",
            StatusCode::REQUEST_TIMEOUT => "The body of the request did not arrive in time.",
            StatusCode::SERVICE_UNAVAILABLE => "The request took too long and was given up.",
            _ => "The request could not be answered.",
        };
        Self::new(status, detail)
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; `document` fills in the body.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"slipway\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(time) = self.retry_after.clone() {
            headers.insert(header::RETRY_AFTER, time);
        }
        if self.encoded {
            let identity = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, identity);
        }
        response.extensions_mut().insert(self);
        response
    }
}
