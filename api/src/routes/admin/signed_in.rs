//! Who looks at a page, and whether a form came from one.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderName, Method, StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Token,
    accounts::Role,
    audit::{self, Action},
    sessions::{self, CookieSession},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::Sha256;

use super::{cookie, layout, next};
use crate::{App, caller::Caller, form::Form, problem::Problem, request::RequestId};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// An admin whose cookie stands for a session that goes on, as the database says.
///
/// Without such a session, a person is sent to the sign-in and from there back to the page; a
/// script is answered 403. Somebody who is no admin any more gets 403.
#[derive(Debug)]
pub(super) struct SignedIn {
    /// The account and the session.
    pub(super) caller: Caller,
    /// The account's address.
    pub(super) email: String,
    /// What each form has to send back as the field `csrf`.
    pub(super) csrf: String,
    /// What leads from this page to where all are: `{base}/admin/...` is a link.
    pub(super) base: String,
    request_id: Option<RequestId>,
    token: Token,
}

/// A form that a page of this very session has sent, and what was in it besides the token.
#[derive(Debug)]
pub(super) struct Confirmed<T>(pub(super) SignedIn, pub(super) T);

/// A form without fields of its own.
#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
struct Csrf {
    #[serde(default)]
    csrf: String,
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let Some((session, token)) = session(parts, app).await.map_err(refused)? else {
            return Err(sign_in_first(parts));
        };
        if session.role != Role::Admin {
            return Err(Problem::admins_only().into_response());
        }
        if session.is_aging && is_by_a_person(parts) {
            let prolonged = sessions::prolong(&app.pool, session.session_id).await;
            prolonged.map_err(refused)?;
        }
        let mac = csrf(&token).finalize().into_bytes();
        Ok(Self {
            caller: Caller {
                account_id: session.account_id,
                session_id: session.session_id,
            },
            email: session.email,
            csrf: URL_SAFE_NO_PAD.encode(mac),
            base: layout::base(&parts.uri),
            request_id: parts.extensions.get().cloned(),
            token,
        })
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Confirmed<T> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let signed_in = SignedIn::from_request_parts(&mut parts, app).await?;
        let body = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(body, app).await;
        let body = body.map_err(IntoResponse::into_response)?;
        // Read twice, as the token is no field of what a handler asks for.
        let form = || Request::from_parts(parts.clone(), Body::from(body.clone()));
        let sent = Form::<Csrf>::from_request(form(), app).await;
        let Form(sent) = sent.map_err(IntoResponse::into_response)?;
        if !signed_in.is_token(&sent.csrf) {
            let detail = "This form does not belong to your session, so nothing was done. Go back, \
                          load the page again, and repeat it.";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).into_response());
        }
        let fields = Form::<T>::from_request(form(), app).await;
        let Form(fields) = fields.map_err(IntoResponse::into_response)?;
        Ok(Self(signed_in, fields))
    }
}

impl SignedIn {
    /// Writes down and logs what this admin is about to do. Nothing is done that is not recorded.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(super) async fn record(&self, app: &App, action: &Action<'_>) -> Result<(), Problem> {
        let id = self.request_id.as_ref();
        let id = id.map(ToString::to_string).unwrap_or_default();
        record(app, self.caller, &id, action).await
    }

    /// What follows a form: a page, by its path below `/admin`.
    pub(super) fn leads_to(&self, place: &str) -> Response {
        Redirect::to(&format!("{}/admin{place}", self.base)).into_response()
    }

    /// Whether this came from a form of this session; compared in constant time.
    fn is_token(&self, given: &str) -> bool {
        let given = URL_SAFE_NO_PAD.decode(given);
        given.is_ok_and(|mac| csrf(&self.token).verify_slice(&mac).is_ok())
    }
}

/// The same for somebody who is not known by a cookie yet.
pub(super) async fn record(
    app: &App,
    caller: Caller,
    request_id: &str,
    action: &Action<'_>,
) -> Result<(), Problem> {
    audit::record(&app.pool, caller.account_id, request_id, action).await?;
    tracing::info!(
        account.id = %caller.account_id,
        session.id = %caller.session_id,
        action.name,
        action.queue,
        action.target,
        "an admin acts"
    );
    Ok(())
}

/// The session that a request's cookie stands for.
pub(super) async fn session(
    parts: &Parts,
    app: &App,
) -> Result<Option<(CookieSession, Token)>, domain::Error> {
    let Some(token) = cookie::token(app, &parts.headers) else {
        return Ok(None);
    };
    let session = sessions::find_by_cookie(&app.pool, &token).await?;
    Ok(session.map(|session| (session, token)))
}

/// A form's token follows from the cookie's, which no other page can read: so none is stored, and
/// none fits another session (OWASP's HMAC-based token pattern, with the cookie's 256 bits as key).
///
/// # Panics
/// Never: HMAC takes keys of every length.
fn csrf(token: &Token) -> Hmac<Sha256> {
    let key = token.expose().as_bytes();
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update("slipway admin form")
}

fn refused(error: domain::Error) -> Response {
    Problem::from(error).into_response()
}

/// Leads a person to the sign-in, and back to this page if it can simply be shown again.
fn sign_in_first(parts: &Parts) -> Response {
    if !is_by_a_person(parts) {
        let detail = "The session is over: sign in again.";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    let base = layout::base(&parts.uri);
    let mut place = format!("{base}/admin/sign-in");
    if matches!(parts.method, Method::GET | Method::HEAD) {
        place = format!("{place}?next={}", next::parameter(&parts.uri));
    }
    Redirect::to(&place).into_response()
}

/// Whether somebody waits for the page: what a script asks for by itself, again and again, neither
/// keeps a session alive nor is led to a form.
fn is_by_a_person(parts: &Parts) -> bool {
    let dest = parts.headers.get(SEC_FETCH_DEST);
    dest.is_none_or(|dest| dest == "document")
}
