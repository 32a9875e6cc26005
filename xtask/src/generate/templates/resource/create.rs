use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use domain::widgets;
//# if timestamp
use time::OffsetDateTime;
//# end
use utoipa::ToSchema;
//# if uuid
use uuid::Uuid;
//# end

use super::{Widget, PARSERS};
use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    etag::ETag,
    fields::{Fields, FromFields, READERS},
    problem::Problem,
};

#[derive(ToSchema)]
pub(super) struct NewWidget {
    //# each
    SCHEMA_OF_NEW
    FIELD: RUST_TYPE,
    //# end
}

impl FromFields for NewWidget {
    fn read(fields: &mut Fields) -> Option<Self> {
        //# each
        let FIELD = fields.required("FIELD", PARSED);
        //# end
        Some(Self {
            //# each
            FIELD: FIELD?,
            //# end
        })
    }
}

/// Create {a thing}
#[utoipa::path(post, path = "/v1/widgets", tag = "{things}", request_body = NewWidget,
    security(("access_token" = [])),
    responses((status = 201, description = "The {thing}.", body = Widget)),
)]
pub(super) async fn create(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Body(sent): Body<NewWidget>,
) -> Result<(StatusCode, ETag, [(HeaderName, String); 1], Json<Widget>), Problem> {
    let new = widgets::NewWidget {
        //# each
        FIELD: sent.FIELD,
        //# end
    };
    let made = widgets::create(&app.pool, caller.account_id, &new).await?;
    let made = made.ok_or_else(Problem::unauthorized)?;
    let location = [(header::LOCATION, format!("/v1/widgets/{}", made.id))];
    Ok((StatusCode::CREATED, ETag(made.version), location, Json(made.into())))
}
