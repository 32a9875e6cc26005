use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{AppendHeaders, IntoResponse, Response},
};
use domain::webhooks::{self, AcceptError, EventType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::key::Key;
use crate::{
    App,
    body::Verbatim,
    caller::Caller,
    fields::{Fault, Fields, FromFields, text},
    problem::Problem,
    schema,
};

/// Whether this answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the data is taken from the text of the body, to the last digit"
)]
pub(super) struct NewEvent {
    #[schema(schema_with = schema::event_type_to_send)]
    r#type: EventType,
    /// Any object; it is passed on as it is sent, to the last digit.
    #[schema(schema_with = schema::event_data)]
    data: (),
}

impl FromFields for NewEvent {
    fn read(fields: &mut Fields) -> Option<Self> {
        let kind = fields.required("type", text(EventType::parse_sent));
        let data = fields.required("data", |value| match value {
            Value::Object(_) => Ok(()),
            _ => Err(Fault::new("must be an object")),
        });
        Some(Self {
            r#type: kind?,
            data: data?,
        })
    }
}

/// The part of the body that is stored as it is.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize, ToSchema)]
pub(super) struct AcceptedEvent {
    /// The `webhook-id` of each of its deliveries.
    id: Uuid,
    #[schema(schema_with = schema::event_type)]
    r#type: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// How many endpoints are told.
    #[schema(minimum = 0, example = 2)]
    deliveries: i32,
}

/// Tell the account's endpoints of an event
///
/// It is stored with its deliveries before this answers, and sent afterwards. Where no endpoint
/// wants it, it is stored all the same.
#[utoipa::path(post, path = "/v1/events", tag = "events", request_body = NewEvent, params(Key),
    security(("access_token" = [])),
    responses(
        (status = 202, description = "It is on its way.", body = AcceptedEvent,
         headers(("Idempotency-Replayed" = bool,
                  description = "Whether this answer was given before."))),
        (status = 400, description = "The body is no JSON or not one that every receiver could read, or there is not exactly one `Idempotency-Key`."),
        (status = 409, description = "A request with this key is being worked on."),
        (status = 422, description = "Fields are wrong, or the key was used for another request."),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Key(key): Key,
    sent: Verbatim<NewEvent>,
) -> Result<Response, Problem> {
    let text = sent.text.get();
    // Its fields were read, so it is there.
    let Data { data } = serde_json::from_str(text).map_err(|error| Problem::not_json(&error))?;
    let kind = &sent.fields.r#type;
    let event = webhooks::NewEvent { kind, data };
    let hash = Sha256::new_with_prefix("POST /v1/events\n").chain_update(text);
    let hash = hash.finalize().into();
    let accepted = webhooks::accept_event(&app.pool, caller.account_id, &key, hash, event).await;
    let accepted = accepted.map_err(|error| match error {
        AcceptError::InFlight => Problem::idempotency_key_in_flight(),
        AcceptError::OtherRequest => Problem::idempotency_key_reused(),
        AcceptError::NoAccount => Problem::unauthorized(),
        AcceptError::Internal(error) => error.into(),
    })?;
    let replayed = HeaderValue::from_static(if accepted.replayed { "true" } else { "false" });
    let answer = AcceptedEvent {
        id: accepted.id,
        r#type: kind.as_str().to_owned(),
        created_at: accepted.created_at,
        deliveries: accepted.deliveries,
    };
    let headers = AppendHeaders([(REPLAYED, replayed)]);
    Ok((StatusCode::ACCEPTED, headers, Json(answer)).into_response())
}
